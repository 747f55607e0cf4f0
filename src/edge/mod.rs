//! Floor 3, the edge: what turns an HTTP request into a decision, and a refusal into a response.
