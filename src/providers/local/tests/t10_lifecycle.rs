//! The life of a node: placed, launched, stopped, killed, paused, started again.

mod support;

use std::time::Duration;

use support::{Bed, SOON, command, http, is_alive, node, permit, sh, state, until};
use trellis_bootstrap::ProviderError;
use trellis_domain::Operation;

/// A node with a child in its group and one that left the group; both write their numbers.
const FAMILY: &str = "sleep 611 & echo $! > data/child; setsid sh -c 'echo $$ > data/stray; exec sleep 612' & \
     echo $$ > data/leader; wait";

async fn family(bed: &Bed, name: &str) -> [String; 3] {
    bed.sh(name, FAMILY).await;
    [
        bed.file(name, "leader").await,
        bed.file(name, "child").await,
        bed.file(name, "stray").await,
    ]
}

#[track_caller]
fn assert_gone(pids: &[String]) {
    for pid in pids {
        assert!(!is_alive(pid), "process {pid} is still there");
    }
}

#[tokio::test]
async fn a_node_runs_in_its_own_folder_with_a_clean_environment() {
    let bed = Bed::new().await;
    let placement = bed
        .sh(
            "NODE_1",
            "pwd; env | sort; cat; echo error >&2; echo done > data/up; sleep 600",
        )
        .await;
    bed.file("NODE_1", "up").await;
    let home = bed.folder.join("nodes/NODE_1");
    assert_eq!(placement.data_dir, home.join("data"));
    let log = bed.log("NODE_1").await;
    let home = home.display();
    let path = std::env::var("PATH").unwrap();
    let libraries = std::env::var("LD_LIBRARY_PATH").ok();
    let mut expected = vec![
        format!("HOME={home}"),
        "LANG=C.UTF-8".to_owned(),
        format!("PATH={path}"),
        format!("PWD={home}"),
        "RUST_BACKTRACE=1".to_owned(),
        format!("TMPDIR={home}/tmp"),
        format!("TRELLIS_CLUSTER={}-net", bed.ledger.run()),
        "TRELLIS_NODE=NODE_1".to_owned(),
        format!("TRELLIS_RUN={}", bed.ledger.run()),
    ];
    expected.extend(libraries.map(|path| format!("LD_LIBRARY_PATH={path}")));
    expected.sort();
    expected.insert(0, home.to_string());
    expected.push("error".to_owned());
    assert_eq!(log, expected);
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_missing_is_named_with_what_to_try() {
    let bed = Bed::new().await;
    let plain = bed.home.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let plain = plain.to_str().unwrap();
    for (program, hint) in [
        ("no-such-program-here", "put its folder on PATH"),
        ("/no/such/program", "build it or correct the path"),
        (plain, "make it executable: chmod +x"),
    ] {
        let name = support::unique("N").parse().unwrap();
        bed.control.place(&name, &[http()]).await.unwrap();
        let error = bed
            .control
            .launch(&name, &command(program, &[]))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains(program) && text.contains(hint), "{text}");
    }
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_stop_is_answered_by_the_node_and_takes_its_family_along() {
    let bed = Bed::new().await;
    let pids = family(&bed, "NODE_1").await;
    let report = bed.stop("NODE_1", SOON).await;
    assert!(!report.forced, "{report:?}");
    assert_gone(&pids);
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_node_that_ignores_a_stop_is_killed_after_the_grace() {
    let bed = Bed::new().await;
    bed.sh(
        "NODE_1",
        "trap '' TERM; echo $$ > data/up; while :; do sleep 613; done",
    )
    .await;
    let pid = bed.file("NODE_1", "up").await;
    let grace = Duration::from_millis(300);
    let report = bed.stop("NODE_1", grace).await;
    assert!(report.forced && report.took >= grace, "{report:?}");
    assert_gone(&[pid]);
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_kill_leaves_nothing_of_the_family() {
    let bed = Bed::new().await;
    let pids = family(&bed, "NODE_1").await;
    bed.control
        .kill(&permit("NODE_1", Operation::Kill))
        .await
        .unwrap();
    assert_gone(&pids);
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_paused_node_is_frozen_with_its_children_and_goes_on_when_resumed() {
    let bed = Bed::new().await;
    let [leader, child, _] = family(&bed, "NODE_1").await;
    let states = || [state(&leader), state(&child)];
    bed.control
        .pause(&permit("NODE_1", Operation::Pause))
        .await
        .unwrap();
    assert_eq!(states(), [Some('T'); 2]);
    bed.control
        .resume(&permit("NODE_1", Operation::Resume))
        .await
        .unwrap();
    assert!(!states().contains(&Some('T')) && is_alive(&leader));
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_paused_node_can_be_stopped_and_still_ends_by_itself() {
    let bed = Bed::new().await;
    bed.sh(
        "NODE_1",
        "trap 'echo bye; exit 0' TERM; echo up > data/up; while :; do sleep 0.05; done",
    )
    .await;
    bed.file("NODE_1", "up").await;
    bed.control
        .pause(&permit("NODE_1", Operation::Pause))
        .await
        .unwrap();
    let report = bed.stop("NODE_1", SOON).await;
    assert!(!report.forced, "{report:?}");
    assert_eq!(bed.log("NODE_1").await, ["bye"]);
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_paused_node_can_be_killed() {
    let bed = Bed::new().await;
    let pids = family(&bed, "NODE_1").await;
    bed.control
        .pause(&permit("NODE_1", Operation::Pause))
        .await
        .unwrap();
    bed.control
        .kill(&permit("NODE_1", Operation::Kill))
        .await
        .unwrap();
    assert_gone(&pids);
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_node_that_has_ended_cannot_be_paused() {
    let bed = Bed::new().await;
    bed.sh("NODE_1", "exit 3").await;
    bed.control.exited(&node("NODE_1")).await;
    let error = bed
        .control
        .pause(&permit("NODE_1", Operation::Pause))
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("cannot pause NODE_1: pid "),
        "{error}"
    );
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_restarted_node_has_its_data_its_port_and_the_new_configuration() {
    let bed = Bed::new().await;
    let script = "echo start >> data/starts; cat config/name; echo up > data/up.$(wc -l < data/starts); sleep 600";
    let name = node("NODE_1");
    bed.control.place(&name, &[http()]).await.unwrap();
    let configured = |text: &str| [trellis_bootstrap::ArtifactFile::new("name", text)];
    bed.control
        .configure(&name, &configured("first\n"))
        .await
        .unwrap();
    let first = bed.control.launch(&name, &sh(script)).await.unwrap();
    bed.file("NODE_1", "up.1").await;
    bed.stop("NODE_1", SOON).await;
    bed.control
        .configure(&name, &configured("second\n"))
        .await
        .unwrap();
    let second = bed
        .control
        .start(&permit("NODE_1", Operation::Start))
        .await
        .unwrap();
    bed.file("NODE_1", "up.2").await;
    assert_ne!(first, second);
    assert_eq!(
        bed.log("NODE_1").await,
        ["first", "--- start 2 ---", "second"]
    );
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn what_does_not_fit_the_state_of_a_node_is_refused() {
    let bed = Bed::new().await;
    let name = node("NODE_1");
    let refused = |result: Result<(), ProviderError>, part: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    };
    refused(
        bed.control.launch(&name, &sh("true")).await.map(drop),
        "no place in this cluster",
    );
    bed.control.place(&name, &[]).await.unwrap();
    refused(
        bed.control.place(&name, &[]).await.map(drop),
        "it has a place already",
    );
    let never = "it was never launched";
    refused(
        bed.control
            .start(&permit("NODE_1", Operation::Start))
            .await
            .map(drop),
        never,
    );
    refused(
        bed.control
            .stop(&permit("NODE_1", Operation::Stop), SOON)
            .await
            .map(drop),
        never,
    );
    refused(
        bed.control.kill(&permit("NODE_1", Operation::Kill)).await,
        never,
    );
    refused(
        bed.control
            .resume(&permit("NODE_1", Operation::Resume))
            .await,
        never,
    );
    bed.control.launch(&name, &sh("sleep 600")).await.unwrap();
    let runs = "it runs as pid";
    refused(bed.control.launch(&name, &sh("true")).await.map(drop), runs);
    refused(bed.control.replace_ports(&name, &[]).await.map(drop), runs);
    refused(
        bed.control
            .save_data(&permit("NODE_1", Operation::SaveData), "x")
            .await,
        runs,
    );
    bed.control.teardown().await.unwrap();
    let over = "the cluster was torn down";
    refused(
        bed.control.place(&node("NODE_2"), &[]).await.map(drop),
        over,
    );
}

#[tokio::test]
async fn a_teardown_ends_everything_at_once_and_may_be_repeated() {
    let bed = Bed::new().await;
    let mut pids = Vec::new();
    for name in ["NODE_1", "NODE_2", "NODE_3"] {
        pids.extend(family(&bed, name).await);
    }
    bed.control
        .pause(&permit("NODE_2", Operation::Pause))
        .await
        .unwrap();
    // An operation that is in no hurry does not hold the teardown up.
    let (control, stubborn) = (
        bed.control.clone(),
        sh("trap '' TERM; echo up > data/up; sleep 600 & wait; wait"),
    );
    control.place(&node("NODE_4"), &[]).await.unwrap();
    control.launch(&node("NODE_4"), &stubborn).await.unwrap();
    bed.file("NODE_4", "up").await;
    let stopping = tokio::spawn(async move {
        control
            .stop(&permit("NODE_4", Operation::Stop), Duration::from_hours(1))
            .await
    });
    let begun = std::time::Instant::now();
    bed.control.teardown().await.unwrap();
    assert!(begun.elapsed() < SOON);
    assert_gone(&pids);
    assert!(!bed.folder.exists());
    let _ = stopping.await.unwrap();
    bed.control.teardown().await.unwrap();
    let Bed {
        ledger, control, ..
    } = bed;
    drop(control);
    let ledger = std::sync::Arc::into_inner(ledger).unwrap();
    assert_eq!(ledger.close().unwrap(), []);
}

#[tokio::test]
async fn a_control_that_is_dropped_kills_and_keeps_the_files() {
    let bed = Bed::new().await;
    let [leader, child, stray] = family(&bed, "NODE_1").await;
    let Bed {
        control,
        folder,
        home,
        ledger,
    } = bed;
    drop(control);
    until("the processes to end", || {
        (!is_alive(&leader) && !is_alive(&child)).then_some(())
    })
    .await;
    assert!(folder.join("nodes/NODE_1/data/leader").exists());
    assert!(is_alive(&stray), "only the label leads to it");
    drop(ledger);
    // A process that another test is starting has a copy of the lock until it runs its program.
    let run = until("the ledger to be let go", || {
        let mut known = trellis_bootstrap::known_runs(home.path()).unwrap();
        known.abandoned.pop()
    })
    .await;
    trellis_local::reap(&run).unwrap();
    assert!(!is_alive(&stray) && !folder.exists());
}
