//! Failure: what an error of the HTTP client is in the words of a source.

use std::{error::Error, io, sync::Arc};

use hyper_util::client::legacy;

use crate::error::SourceErrorKind;

/// Why a request was not answered. Errors of the client name hosts and never headers.
pub(super) fn of_request(error: legacy::Error) -> SourceErrorKind {
    let refused = error.is_connect() && !is_tls(&error);
    let source = Arc::new(error);
    if refused {
        SourceErrorKind::Refused { source }
    } else {
        SourceErrorKind::Broken { source }
    }
}

/// Why an answer ended before its end.
pub(super) fn of_body(error: hyper::Error) -> SourceErrorKind {
    let source = Arc::new(error);
    SourceErrorKind::Broken { source }
}

/// Whether somebody listened, but not in a way that TLS can go on with. An error within an
/// `io::Error` is not among its sources, so that it is looked for inside.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let within = |error: &io::Error| {
        let hung_up = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
        );
        hung_up || error.get_ref().is_some_and(|inner| is_tls(inner))
    };
    error.is::<rustls::Error>()
        || error.downcast_ref().is_some_and(within)
        || error.source().is_some_and(is_tls)
}
