//! Ends that nobody ordered: how they are told, and what they say of ports.

mod support;

use std::{net::TcpListener, time::Duration};

use support::{Bed, SOON, TESTBED, command, http, is_alive, node, permit};
use trellis_bootstrap::Transport;
use trellis_domain::Operation;

#[track_caller]
fn assert_pending<T: std::fmt::Debug>(result: Result<T, tokio::time::error::Elapsed>) {
    assert!(result.is_err(), "{result:?}");
}

#[tokio::test]
async fn a_crash_is_told_with_its_exit_code_and_last_lines() {
    let bed = Bed::new().await;
    bed.sh("NODE_1", "echo one; echo two >&2; exit 3").await;
    let report = bed.control.exited(&node("NODE_1")).await;
    assert_eq!(report.status, "exit code 3");
    assert_eq!(report.log.lines, ["one", "two"]);
    assert_eq!(report.taken_port, None);
    assert_eq!(
        bed.control.exited(&node("NODE_1")).await,
        report,
        "it is told again"
    );
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_node_killed_by_a_stranger_is_told_with_the_signal() {
    let bed = Bed::new().await;
    bed.sh("NODE_1", "kill -9 $$").await;
    let report = bed.control.exited(&node("NODE_1")).await;
    assert_eq!(report.status, "killed by signal 9 (SIGKILL)");
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn what_a_crashed_node_leaves_is_ended_before_the_crash_is_told() {
    let bed = Bed::new().await;
    bed.sh(
        "NODE_1",
        "sleep 621 & echo $! > data/child; setsid sh -c 'echo $$ > data/stray; exec sleep 622' & \
         while [ ! -s data/stray ]; do sleep 0.01; done; exit 1",
    )
    .await;
    bed.control.exited(&node("NODE_1")).await;
    for file in ["child", "stray"] {
        let pid = bed.file("NODE_1", file).await;
        assert!(!is_alive(&pid), "the {file} is still there");
    }
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn an_ordered_end_is_never_told_and_a_crash_after_a_restart_is() {
    let bed = Bed::new().await;
    bed.sh("NODE_1", "[ -e data/crash ] && exit 4; sleep 600")
        .await;
    let moment = Duration::from_millis(300);
    assert_pending(tokio::time::timeout(moment, bed.control.exited(&node("NODE_1"))).await);
    bed.control
        .kill(&permit("NODE_1", Operation::Kill))
        .await
        .unwrap();
    assert_pending(tokio::time::timeout(moment, bed.control.exited(&node("NODE_1"))).await);
    std::fs::write(bed.folder.join("nodes/NODE_1/data/crash"), "").unwrap();
    bed.control
        .start(&permit("NODE_1", Operation::Start))
        .await
        .unwrap();
    let report = bed.control.exited(&node("NODE_1")).await;
    assert_eq!(report.status, "exit code 4");
    bed.control
        .start(&permit("NODE_1", Operation::Start))
        .await
        .unwrap();
    bed.control.exited(&node("NODE_1")).await;
    bed.stop("NODE_1", SOON).await;
    assert_pending(tokio::time::timeout(moment, bed.control.exited(&node("NODE_1"))).await);
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_found_and_replaced() {
    let bed = Bed::new().await;
    let name = node("NODE_1");
    let address =
        |placement: &trellis_bootstrap::Placement| placement.addresses[&http().endpoint].clone();
    let first = address(&bed.control.place(&name, &[http()]).await.unwrap());
    let thief = TcpListener::bind(first.to_string()).unwrap();
    let serve = |address: String| command(TESTBED, &["serve", &address]);
    bed.control
        .launch(&name, &serve(first.to_string()))
        .await
        .unwrap();
    let report = bed.control.exited(&name).await;
    assert_eq!(
        (report.status.as_str(), report.taken_port),
        ("exit code 1", Some(first.port))
    );
    let second = address(&bed.control.replace_ports(&name, &[http()]).await.unwrap());
    assert_ne!(first, second);
    bed.control
        .launch(&name, &serve(second.to_string()))
        .await
        .unwrap();
    support::until("the node to listen", || {
        std::net::TcpStream::connect(second.to_string()).ok()
    })
    .await;
    drop(thief);
    bed.control.teardown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_outlives_many_restarts_while_others_look_for_ports() {
    let bed = Bed::new().await;
    let name = node("NODE_1");
    let udp = trellis_bootstrap::PortSpec {
        endpoint: "p2p".parse().unwrap(),
        scheme: "udp",
        transport: Transport::Udp,
    };
    let placement = bed.control.place(&name, &[http(), udp]).await.unwrap();
    let address = placement.addresses[&http().endpoint].to_string();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (order, port) = (
        std::sync::atomic::Ordering::Relaxed,
        placement.addresses[&http().endpoint].port,
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(order) {
                let other = TcpListener::bind("127.0.0.1:0").unwrap();
                assert_ne!(other.local_addr().unwrap().port(), port);
            }
        });
        let runtime = tokio::runtime::Handle::current();
        let restarts = async {
            bed.control
                .launch(&name, &command(TESTBED, &["serve", &address]))
                .await
                .unwrap();
            for _ in 0..10 {
                support::until("the node to listen", || {
                    std::net::TcpStream::connect(&address).ok()
                })
                .await;
                bed.control
                    .kill(&permit("NODE_1", Operation::Kill))
                    .await
                    .unwrap();
                bed.control
                    .start(&permit("NODE_1", Operation::Start))
                    .await
                    .unwrap();
            }
        };
        tokio::task::block_in_place(|| runtime.block_on(restarts));
        is_over.store(true, order);
    });
    bed.control.teardown().await.unwrap();
}
