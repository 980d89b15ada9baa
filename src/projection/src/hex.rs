//! Bytes in lower-case hexadecimal.

use std::fmt::Write;

/// `bytes`, two digits each.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("text takes what is written to it");
    }
    text
}

/// A name for `digest` that is short enough to be stored beside every view.
pub(crate) fn short(digest: &[u8]) -> String {
    hex(&digest[..digest.len().min(8)])
}
