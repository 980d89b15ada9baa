//! A configured range of ports that is too narrow.
//!
//! Alone in its file, since the children of other tests would hold copies of its sockets for a moment (see `ports`), and here each port counts.

mod support;

use support::{Bed, http, node};
use trellis_bootstrap::PortSpec;
use trellis_local::LocalConfig;

#[tokio::test]
async fn a_range_without_a_free_port_is_told_and_the_name_can_be_placed_again() {
    let config = LocalConfig {
        ports: Some(23_230..=23_231),
        ..LocalConfig::default()
    };
    let bed = Bed::with(config).await;
    let ports = |count: usize| -> Vec<PortSpec> {
        let named = |index| PortSpec {
            endpoint: format!("port-{index}").parse().unwrap(),
            ..http()
        };
        (0..count).map(named).collect()
    };
    let error = bed
        .control
        .place(&node("NODE_1"), &ports(3))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("cannot reserve a port-2 port for NODE_1: none of 23230-23231 is free"),
        "{text}"
    );
    bed.control.place(&node("NODE_1"), &ports(2)).await.unwrap();
    bed.control.teardown().await.unwrap();
    assert!(
        std::net::TcpListener::bind("127.0.0.1:23230").is_ok(),
        "the port was given up"
    );
}
