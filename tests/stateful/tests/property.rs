//! Every case holds over the store in memory. Over SQLite most do, and one in some hundreds fails for
//! what the model takes no account of: how long a call may wait for its turn to write.

use token_auth_stateful::{backend::Memory, property::hold};

#[test]
fn memory() {
    hold::<Memory>(2_000, 20_000);
}
