//! Header check: whether a header is what its id says, by calculation alone.
//!
//! The id of a block is the double SHA-256 of its 80 bytes, backwards, on Bitcoin and on Litecoin
//! (whose work is measured by another function). The work itself is not checked.

use sha2::{Digest as _, Sha256};

use crate::{id::BlockId, model::Header, source::HeaderCheck};

/// How long a header is.
const HEADER_BYTES: usize = 80;
/// Where in it the id of its parent is.
const PARENT: std::ops::Range<usize> = 4..36;

/// Whether `raw`, in hexadecimal digits, is the header that `claimed` says that it is.
pub(super) fn check(claimed: &Header, raw: &str) -> HeaderCheck {
    let forged = |why: String| HeaderCheck::Forged { why };
    let Some(bytes) = from_hex(raw) else {
        return forged(format!("it is not {HEADER_BYTES} bytes: {raw:.40}"));
    };
    let id = BlockId::from_bytes(backwards(&Sha256::digest(Sha256::digest(bytes))));
    if id != claimed.id {
        return forged(format!("the hash of the header is {id}"));
    }
    let parent = BlockId::from_bytes(backwards(&bytes[PARENT]));
    let none = BlockId::from_bytes([0; 32]);
    let named = (parent != none).then_some(parent);
    if named != claimed.parent {
        return forged(format!("the parent in the header is {parent}"));
    }
    HeaderCheck::Consistent
}

fn backwards(bytes: &[u8]) -> [u8; 32] {
    let mut turned = [0; 32];
    for (to, from) in turned.iter_mut().zip(bytes.iter().rev()) {
        *to = *from;
    }
    turned
}

fn from_hex(text: &str) -> Option<[u8; HEADER_BYTES]> {
    let mut bytes = [0; HEADER_BYTES];
    if text.len() != 2 * HEADER_BYTES || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a litecoind on regtest, at height 104.
    const RAW: &str = "00000020d05d6705044b5341a598c0dca192552ffc546c4a252cc201c21496787cfd6dd5e801334a04a022c824f4849cad37dc95647e65c710a6829ef614e841ccf667706476016bffff7f2000000000";
    const ID: &str = "985943770b8cc87735b67e2cbd43a4d7f9bc49f49a37f3a8c90b47374a99ac56";
    const PARENT_ID: &str = "d56dfd7c789614c201c22c254a6c54fc2f5592a1dcc098a541534b0405675dd0";

    fn claimed() -> Header {
        Header::new(ID.parse().unwrap(), Some(PARENT_ID.parse().unwrap()))
    }

    #[test]
    fn a_header_that_hashes_to_its_id_and_names_its_parent_is_consistent() {
        assert_eq!(check(&claimed(), RAW), HeaderCheck::Consistent);
    }

    #[test]
    fn another_parent_another_header_and_no_header_are_forged() {
        let orphan = Header::new(claimed().id, None);
        let changed = RAW.replace("6476016b", "6476016c");

        for (claimed, raw) in [(orphan, RAW), (claimed(), &*changed), (claimed(), "00")] {
            let found = check(&claimed, raw);
            assert!(matches!(found, HeaderCheck::Forged { .. }), "{found:?}");
        }
    }
}
