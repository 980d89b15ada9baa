//! Reply: what is in an answer, a result or an error, in each way that nodes say it.
//!
//! Old nodes answer in the way of JSON-RPC 1.x, with `result` and `error` both there and one of
//! them null, an error as HTTP 500. New ones, asked with `"jsonrpc":"2.0"`, answer an error as
//! HTTP 200 with `error` alone. A batch is an array of either, in any order. How an answer comes is
//! `client`'s.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    error::SourceErrorKind,
    http::{decode, wrong_shape},
};

/// Error codes that nodes are known to use, by what they mean.
pub mod code {
    /// Anything that has no code of its own: `Block not found on disk`.
    pub const MISC: i64 = -1;
    /// A wallet call that failed.
    pub const WALLET: i64 = -4;
    /// No such block, or no such transaction.
    pub const NOT_FOUND: i64 = -5;
    /// A parameter that does not fit: `Block height out of range`.
    pub const INVALID_PARAMETER: i64 = -8;
    /// No wallet of this name is loaded, or there is none.
    pub const WALLET_NOT_FOUND: i64 = -18;
    /// What cannot be decoded.
    pub const DESERIALISATION: i64 = -22;
    /// The node is already connected to this peer, or knows its address already.
    pub const NODE_ALREADY_ADDED: i64 = -23;
    /// A transaction with inputs that are not there.
    pub const VERIFY: i64 = -25;
    /// A transaction that the mempool does not take.
    pub const VERIFY_REJECTED: i64 = -26;
    /// A transaction that is on the chain already.
    pub const ALREADY_IN_CHAIN: i64 = -27;
    /// The node has started and cannot answer yet.
    pub const WARMING_UP: i64 = -28;
    /// A peer that the node is not connected to.
    pub const NODE_NOT_CONNECTED: i64 = -29;
    /// The wallet is loaded already.
    pub const WALLET_ALREADY_LOADED: i64 = -35;
    /// The node has no such call.
    pub const METHOD_NOT_FOUND: i64 = -32601;
}

/// An error that a node answered with.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct RpcFailure {
    /// One of [`code`], or another.
    pub code: i64,
    /// The node's words.
    #[serde(default)]
    pub message: String,
}

impl From<RpcFailure> for SourceErrorKind {
    fn from(failure: RpcFailure) -> Self {
        let RpcFailure { code, message } = failure;
        Self::Node { code, message }
    }
}

/// One answer: with both keys, or with one.
#[derive(Deserialize)]
pub(crate) struct Reply {
    /// `null` is a result too: that of calls that have nothing to say.
    #[serde(default, deserialize_with = "present")]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<RpcFailure>,
    #[serde(default)]
    id: Option<u64>,
}

impl Reply {
    /// The answer in `body`, to be had whatever the HTTP status was.
    pub(crate) fn of(body: &[u8]) -> Result<Self, SourceErrorKind> {
        let reply: Self = decode(body)?;
        if reply.result.is_none() && reply.error.is_none() {
            return Err(wrong_shape("$", &text(body), "a result or an error"));
        }
        Ok(reply)
    }

    /// The result as JSON text: `null` where a call has nothing to say.
    pub(crate) fn into_result(self) -> Result<Box<RawValue>, RpcFailure> {
        match self.error {
            Some(failure) => Err(failure),
            None => Ok(self.result.unwrap_or_else(|| RawValue::NULL.to_owned())),
        }
    }
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// The answers to a batch of `count` calls with the ids from 0, in the order of the calls.
pub(crate) fn batch(
    body: &[u8],
    count: usize,
) -> Result<Vec<Result<Box<RawValue>, RpcFailure>>, SourceErrorKind> {
    // A node that refuses the whole batch answers with one error.
    if first_byte(body) == Some(b'{') {
        let all = Reply::of(body)?.into_result();
        return Err(match all {
            Err(failure) => failure.into(),
            Ok(found) => wrong_shape("$", found.get(), "an array of answers"),
        });
    }
    let replies: Vec<Reply> = decode(body)?;
    let mut answers: Vec<Option<Reply>> = std::iter::repeat_with(|| None).take(count).collect();
    for reply in replies {
        let id = reply.id.and_then(|id| usize::try_from(id).ok());
        if let Some(place) = id.and_then(|id| answers.get_mut(id)) {
            *place = Some(reply);
        }
    }
    let answers = answers.into_iter().enumerate();
    let answer = |(id, reply): (usize, Option<Reply>)| {
        let missing = || wrong_shape("$", &text(body), format!("an answer with id {id}"));
        reply.map(Reply::into_result).ok_or_else(missing)
    };
    answers.map(answer).collect()
}

fn text(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body)
}

fn first_byte(body: &[u8]) -> Option<u8> {
    body.iter()
        .copied()
        .find(|byte| !byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result_of(body: &str) -> Result<Box<RawValue>, RpcFailure> {
        Reply::of(body.as_bytes()).unwrap().into_result()
    }

    #[test]
    fn an_error_is_read_in_the_old_style_and_in_the_new_one() {
        let old =
            r#"{"result":null,"error":{"code":-8,"message":"Block height out of range"},"id":1}"#;
        let new =
            r#"{"jsonrpc":"2.0","error":{"code":-8,"message":"Block height out of range"},"id":1}"#;
        let failure = RpcFailure {
            code: code::INVALID_PARAMETER,
            message: "Block height out of range".into(),
        };

        assert_eq!(result_of(old).unwrap_err(), failure);
        assert_eq!(result_of(new).unwrap_err(), failure);
    }

    #[test]
    fn a_result_is_read_in_the_old_style_and_in_the_new_one() {
        let old = r#"{"result":1102,"error":null,"id":1}"#;
        let new = r#"{"jsonrpc":"2.0","result":1102,"id":1}"#;
        let nothing = r#"{"result":null,"error":null,"id":1}"#;

        assert_eq!(result_of(old).unwrap().get(), "1102");
        assert_eq!(result_of(new).unwrap().get(), "1102");
        assert_eq!(result_of(nothing).unwrap().get(), "null");
    }

    #[test]
    fn the_answers_of_a_batch_are_put_in_the_order_of_the_calls() {
        let body = r#"[{"jsonrpc":"2.0","error":{"code":-5,"message":"Block not found"},"id":1},
            {"result":"ab","error":null,"id":0}]"#;

        let answers = batch(body.as_bytes(), 2).unwrap();

        assert_eq!(answers[0].as_ref().unwrap().get(), "\"ab\"");
        assert_eq!(answers[1].as_ref().unwrap_err().code, code::NOT_FOUND);
    }

    #[test]
    fn a_batch_that_misses_an_answer_and_one_that_is_refused_are_errors() {
        let short = batch(br#"[{"result":1,"id":0},{"result":9,"id":7}]"#, 2).unwrap_err();
        let refused = br#"{"result":null,"error":{"code":-28,"message":"Loading"},"id":null}"#;
        let refused = batch(refused, 2).unwrap_err();

        assert!(short.to_string().contains("expected an answer with id 1"));
        assert_eq!(refused.to_string(), "the node says -28: Loading");
    }

    #[test]
    fn what_is_neither_a_result_nor_an_error_is_of_another_shape() {
        let foreign = Reply::of(br#"{"jsonrpc":"2.0"}"#).err().unwrap();

        assert_eq!(
            foreign.to_string(),
            "an answer of another shape at $: expected a result or an error, \
             found {\"jsonrpc\":\"2.0\"}"
        );
    }
}
