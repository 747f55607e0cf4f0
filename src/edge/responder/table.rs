//! Which statuses a refusal has: the one table of them.

use http::StatusCode;

use crate::usecase::rejection::{Rejection, RejectionKind};

impl Rejection {
    /// The HTTP status of this refusal: 401 for what is wrong with a credential, 403 for a key
    /// that may not do this, 503 for what is wrong with the service.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        row(self.kind()).0
    }

    /// The gRPC status code of this refusal: 16 (`UNAUTHENTICATED`), 7 (`PERMISSION_DENIED`) or 14
    /// (`UNAVAILABLE`).
    #[must_use]
    pub fn grpc_code(&self) -> u8 {
        row(self.kind()).1
    }
}

const UNAUTHENTICATED: u8 = 16;
const PERMISSION_DENIED: u8 = 7;
const UNAVAILABLE: u8 = 14;

fn row(kind: RejectionKind) -> (StatusCode, u8) {
    match kind {
        RejectionKind::Missing
        | RejectionKind::WrongScheme
        | RejectionKind::Malformed
        | RejectionKind::Several
        | RejectionKind::TooLong
        | RejectionKind::NotUtf8
        | RejectionKind::Unknown
        | RejectionKind::Expired
        | RejectionKind::KeyInactive
        | RejectionKind::OwnerInactive => (StatusCode::UNAUTHORIZED, UNAUTHENTICATED),
        RejectionKind::OutOfScope => (StatusCode::FORBIDDEN, PERMISSION_DENIED),
        RejectionKind::StoreUnavailable
        | RejectionKind::TimedOut
        | RejectionKind::Overloaded
        | RejectionKind::Suspect => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
    }
}
