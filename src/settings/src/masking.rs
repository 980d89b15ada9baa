//! Masking: the text of a settings file as it may be shown.
//!
//! A secret does not belong in the file, and one that stands there is refused (see `credential`).
//! The refusal shows the line, and so would any other problem of the same line; what could be a secret is starred out before anything is shown.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::Environment;

/// Keys of a credential whose values may be shown.
const SHOWN_IN_CREDENTIALS: [&str; 3] = ["user", "password_file", "token_file"];
/// What the name of a key with a secret has in it.
const SECRET_WORDS: [&str; 5] = ["password", "passwd", "token", "secret", "credential"];

/// `text` with stars for what could be a secret; every byte that is left is where it was.
///
/// `complete` says whether `table` is all of the text; if not, nothing to the right of an equals sign can be trusted to be known.
pub(crate) fn masked(text: &str, table: &DeTable<'_>, complete: bool) -> String {
    let mut shown = text.as_bytes().to_vec();
    if complete {
        mask_table(&mut shown, text, table, false);
    } else {
        mask_values(&mut shown, text);
    }
    String::from_utf8(shown).expect("whole values are replaced by characters of one byte")
}

fn mask_table(shown: &mut [u8], text: &str, table: &DeTable<'_>, in_credential: bool) {
    for (key, value) in table {
        let key = key.get_ref().as_ref();
        let within = in_credential || key == "credential";
        match value.get_ref() {
            DeValue::Table(table) => mask_table(shown, text, table, within),
            DeValue::String(content) if !is_secret(key, content, within) => {
                mask_user_info(shown, text, value.span());
            }
            _ if within || has_secret_word(key) => mask(shown, value.span()),
            _ => mask_user_info(shown, text, value.span()),
        }
    }
}

fn is_secret(key: &str, content: &str, in_credential: bool) -> bool {
    if !in_credential && !has_secret_word(key) {
        return false;
    }
    let names_variable = key.ends_with("_env") && Environment::is_name(content);
    !names_variable && !SHOWN_IN_CREDENTIALS.contains(&key)
}

fn has_secret_word(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Masks what stands before the host of a URL.
fn mask_user_info(shown: &mut [u8], text: &str, span: Range<usize>) {
    let value = &text[span.clone()];
    if let Some(end) = value.rfind('@') {
        let begin = value.find("//").map_or(1, |slashes| slashes + 2);
        mask(shown, span.start + begin.min(end)..span.start + end);
    }
}

/// Masks everything to the right of the first equals sign of each line, and lines that have none and are no heading: they may go on with a text of the line before.
fn mask_values(shown: &mut [u8], text: &str) {
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        let is_heading = line.trim_start().starts_with('[');
        if !is_heading {
            let from = line.find('=').map_or(0, |position| position + 1);
            mask_words(shown, begin + from..begin + line.len());
        }
        begin += line.len();
    }
}

fn mask_words(shown: &mut [u8], span: Range<usize>) {
    for byte in &mut shown[span] {
        // Quotes and brackets are what a syntax error is mostly about.
        if !byte.is_ascii_whitespace() && !b"\"'[]{},=".contains(byte) {
            *byte = b'*';
        }
    }
}

fn mask(shown: &mut [u8], span: Range<usize>) {
    for byte in &mut shown[span] {
        if *byte != b'\n' {
            *byte = b'*';
        }
    }
}
