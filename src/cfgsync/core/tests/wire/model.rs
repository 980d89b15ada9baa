//! Model: whatever nodes do in whatever order, the server answers as a map of registrations would.

use std::collections::BTreeMap;

use cfgsync_core::{ConfigStatus, RegistrationLimits};
use proptest::{collection::vec, prelude::*};
use tokio::runtime::Runtime;

use crate::{
    server::{Server, at, http, json},
    source::Peers,
};

const EXPECTED: [&str; 3] = ["a", "b", "c"];
const NODES_MAX: usize = 4;

#[derive(Debug, Clone)]
enum Action {
    Register(&'static str, u8),
    Fetch(&'static str),
    Overview,
}

fn action() -> impl Strategy<Value = Action> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    prop_oneof![
        3 => (name(), 1..3_u8).prop_map(|(name, last)| Action::Register(name, last)),
        3 => name().prop_map(Action::Fetch),
        1 => Just(Action::Overview),
    ]
}

/// Who has registered with which address, and how often that has changed.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<&'static str, u8>,
    version: u64,
}

impl Model {
    fn register(&mut self, name: &'static str, last: u8) -> u16 {
        if !self.nodes.contains_key(name) && self.nodes.len() == NODES_MAX {
            return 429;
        }
        if self.nodes.insert(name, last) != Some(last) {
            self.version += 1;
        }
        202
    }

    fn missing(&self) -> Vec<&'static str> {
        let absent = |name: &&str| !self.nodes.contains_key(name);
        EXPECTED.into_iter().filter(absent).collect()
    }

    fn fetch(&self, name: &str) -> Result<String, String> {
        if !self.nodes.contains_key(name) {
            return Err(format!("\"{name}\" has not registered"));
        }
        let missing = self.missing();
        if missing.is_empty() {
            let lines = self.nodes.values().map(|last| format!("10.0.0.{last}\n"));
            return Ok(lines.collect());
        }
        let (registered, missing) = (self.nodes.len(), missing.join(", "));
        Err(format!(
            "not ready: {registered} of 3 registered, missing {missing}"
        ))
    }
}

async fn agree(actions: Vec<Action>) -> Result<(), TestCaseError> {
    let limits = RegistrationLimits {
        nodes_max: NODES_MAX,
        ..RegistrationLimits::default()
    };
    let server = Server::of(Peers::with_limits(&EXPECTED, limits)).await;
    let client = server.client();
    let mut model = Model::default();
    for action in actions {
        match action {
            Action::Register(name, last) => {
                let body = json(&at(name, &format!("10.0.0.{last}")));
                let response = server.post("/register", body).await;
                prop_assert_eq!(response.status().as_u16(), model.register(name, last));
            }
            Action::Fetch(name) => {
                // The address in a question counts for nothing: registering is done by `/register`.
                let status = client
                    .fetch_node_config_status(&at(name, "192.0.2.1"))
                    .await;
                let answered = match status.unwrap() {
                    ConfigStatus::Ready(payload) => {
                        let peers = payload.files.get("peers").unwrap();
                        Ok(peers.content.as_text().unwrap().to_owned())
                    }
                    ConfigStatus::NotReady { message } | ConfigStatus::Missing { message } => {
                        Err(message)
                    }
                };
                prop_assert_eq!(answered, model.fetch(name));
            }
            Action::Overview => {
                let url = format!("{}/registrations", server.url());
                let overview: serde_json::Value =
                    http().get(url).send().await.unwrap().json().await.unwrap();
                prop_assert_eq!(&overview["version"], model.version);
                let missing = serde_json::json!(model.missing());
                prop_assert_eq!(&overview["missing"], &missing);
                let registered = overview["registered"].as_array().unwrap();
                let names = registered
                    .iter()
                    .map(|node| node["identifier"].as_str().unwrap());
                prop_assert_eq!(
                    names.collect::<Vec<_>>(),
                    model.nodes.keys().copied().collect::<Vec<_>>()
                );
            }
        }
    }
    server.stop().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_of_registering_and_fetching_is_answered_as_the_model_says(
        actions in vec(action(), 0..40),
    ) {
        Runtime::new().unwrap().block_on(agree(actions))?;
    }
}
