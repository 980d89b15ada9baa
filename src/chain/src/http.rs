//! HTTP: requests to one node and their answers, with bounds on time and on size.
//!
//! What may be asked, and what an answer means beside its form, is in the rooms of the wires.
//! Nothing here asks twice, follows a redirection or goes through a proxy: what failed is told.
//!
//! This is hyper with rustls and not reqwest: TLS in reqwest is a feature, which Cargo would turn
//! on in every crate of the same build. Each of their clients would then read the certificates of
//! the system, and fail where there are none.

mod answer;
mod client;
mod config;
mod failure;
mod lines;
mod request;
mod shape;
mod tls;

pub use self::{
    answer::HttpAnswer,
    client::HttpClient,
    config::{HttpAuth, HttpConfig, HttpConfigError, HttpLimits, HttpRoots},
    lines::Lines,
    request::HttpRequest,
    shape::{decode, snippet, wrong_shape},
};
