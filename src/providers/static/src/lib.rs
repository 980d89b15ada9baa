//! The adapter for clusters that are listed in a file: who runs where, and where the credentials are.
//!
//! It looks at the file and nowhere else: a node that is listed is found, whether it answers or not, since asking nodes is the readiness barrier's. Nothing can be done to the nodes but to query them and to submit to them.
//!
//! ```yaml
//! nodes:
//!   - name: NODE_1
//!     url: http://10.0.0.1:8080            # the endpoint called `http`
//!   - name: NODE_2
//!     endpoints: { http: "http://10.0.0.2:8080", metrics: "http://10.0.0.2:9100" }
//!     credential: { basic: { user: qa, password_file: node-2.password } }
//! credential: { bearer: { token_env: SHOP_TOKEN } }   # for nodes without one of their own
//! expected: [NODE_1, NODE_2, NODE_3]       # who should be listed; here NODE_3 is missing
//! ```
//!
//! Suggested order of reading: [`StaticProvider`], then `listing` (the file), `secrets` (what the file only points at), [`StaticError`].

mod provider;

mod listing;
mod secrets;

mod error;

pub use error::{ListingPlace, StaticError};
pub use provider::StaticProvider;
