//! Vocabulary: the phrases that QA has written features in for long, each of which must be exactly one step.
//!
//! They are an interface: their text, the order of their arguments and their tables stay.

use super::definitions::{Definitions, Found};

/// Cluster, genesis and configuration.
const CLUSTER: &[&str] = &[
    "I have a cluster with capacity of {int} nodes",
    "I have a devnet cluster with capacity of {int} nodes",
    "we join an external network",
    "the genesis block has the following wallet resources:",
    "we have a sponsored genesis fee account with {int} tokens of {int} value each",
    "the chain starts {int} seconds from now",
    "the configured genesis time has not passed for {int} seconds",
    "we use IBD peers",
    "I have IBD peers:",
    "I have initial peers:",
    "all peers must be mode online after startup in {int} seconds",
    "I have user config override {string} as {string}",
    "I have deployment config override {string} as {string}",
    "the cluster uses cryptarchia security parameter {int}",
    "the cluster uses prolonged bootstrap period of {int} seconds",
    "we will have distinct node groups to query wallet balances:",
];

/// Nodes and snapshots of their data.
const NODES: &[&str] = &[
    "I start node {string}",
    "I immediate start node {string}",
    "I start node {string} to be ready between {int} and {int} seconds",
    "I start peer node {string} connected to node {string}",
    "I start peer node {string} connected to node {string} and node {string}",
    "I immediate start peer node {string} connected to node {string}",
    "I immediate start peer node {string} connected to node {string} and node {string}",
    "I start peer node {string} connected to node {string} to be ready between {int} and {int} seconds",
    "I start peer node {string} connected to node {string} and node {string} to be ready between {int} and {int} seconds",
    "I start nodes with wallet resources:",
    "I restart node {string}",
    "I stop node {string}",
    "I stop all nodes",
    "I connect node {string} to node {string} at runtime",
    "I create a snapshot {string} of node {string}",
    "I create a snapshot {string} of all nodes",
    "I will create a snapshot {string} of all nodes when stopping",
    "I will initialize started nodes from snapshot {string} source node {string}",
];

/// The chain and the network.
const CHAIN: &[&str] = &[
    "node {string} has at least {int} peers within {int} seconds",
    "I wait for all nodes to be responsive in {int} seconds",
    "node {string} is at height {int} in {int} seconds",
    "node {string} is exactly at height {int}",
    "I record node {string} height as {string}",
    "node {string} reaches {int} blocks beyond recorded height {string} in {int} seconds",
    "all nodes converged to within {int} blocks in {int} seconds",
    "all nodes have at least {int} blocks and converged to within {int} blocks in {int} seconds",
    "all nodes agree on LIB in {int} seconds",
    "all nodes share the same LIB at or above height {int} in {int} seconds",
    "I query cryptarchia info for all nodes",
    "I have public cryptarchia endpoint peers:",
    "I wait for all nodes to be synced to the chain",
    "I wait for all nodes to be synced to the chain in {int} seconds",
];

/// Wallets.
const WALLETS: &[&str] = &[
    "wallet {string} has {int} or more outputs in {int} seconds",
    "wallet {string} has {int} or less outputs in {int} seconds",
    "wallet {string} has exactly {int} outputs in {int} seconds",
    "wallet {string} has {int} or more LGO in {int} seconds",
    "wallet {string} has exactly {int} LGO in {int} seconds",
    "wallet {string} has {int} or less LGO in {int} seconds",
    "wallet {string} has {int} or more outputs and {int} or more LGO in {int} seconds",
    "wallet {string} has {int} or less outputs and {int} or less LGO in {int} seconds",
    "wallet {string} has exactly {int} outputs and exactly {int} LGO in {int} seconds",
    "wallet {string} has {int} or less encumbered outputs in {int} seconds",
    "wallet {string} has all submitted transactions settled in {int} seconds",
    "wallet {string} has all submitted transactions included in {int} seconds",
    "I verify each wallet has minimum {int} outputs {string} in {int} seconds",
    "I log wallet balances for all wallets",
    "tracked wallet fees equal sponsored fee account spent fees",
    "I have a faucet with URL {string} username {string} and password {string}",
    "I have a faucet with URL {string}",
    "I request {int} rounds of faucet funds for wallet {string}",
    "I request {int} rounds of faucet funds for all wallets",
    "I request {int} rounds of faucet funds for all user wallets",
    "I request {int} rounds of faucet funds for all funding wallets",
];

/// Transactions and mempools.
const TRANSACTIONS: &[&str] = &[
    "I send {int} transactions of {int} LGO each from wallet {string} to wallet {string}",
    "I send one transaction with {int} outputs of {int} LGO each from wallet {string} to wallet {string}",
    "I do a coin split for {string} of {int} UTXOs valued at {int} LGO tokens each",
    "I perform {int} coin split transactions for each user wallet with {int} outputs of {int} LGO each",
    "I submit inscription transaction {string} of {int} KiB from wallet {string}",
    "I submit funded transfer transaction {string} of {int} LGO from wallet {string} to wallet {string}",
    "I prepare transfer transaction {string} of {int} LGO from wallet {string} to wallet {string}",
    "I submit prepared transaction {string} to nodes:",
    "I submit invalid transfer transaction {string} to node {string}",
    "I try to submit invalid transaction {string} to node {string}",
    "transaction {string} is included on node {string} in {int} seconds",
    "transaction {string} is not included in {int} seconds",
    "transaction {string} is pending in mempool of nodes in {int} seconds:",
    "transaction {string} is not pending in mempool of all nodes in {int} seconds",
    "transaction {string} remains not pending in mempool of all nodes for {int} blocks in {int} seconds",
];

#[test]
fn every_phrase_that_qa_knows_is_one_step_after_each_keyword() {
    for phrase in [CLUSTER, NODES, CHAIN, WALLETS, TRANSACTIONS].concat() {
        let text = phrase
            .replace("{int}", "3")
            .replace("{string}", "\"NODE_1\"");
        for (keyword, ty) in [
            ("Given ", gherkin::StepType::Given),
            ("When ", gherkin::StepType::When),
            ("Then ", gherkin::StepType::Then),
        ] {
            let line = gherkin::Step::builder()
                .keyword(keyword.into())
                .ty(ty)
                .value(text.clone())
                .build();
            let found = Definitions::ours().find(&line);
            assert!(
                matches!(found, Found::One(..)),
                "{keyword}{text} is not one step"
            );
        }
    }
}
