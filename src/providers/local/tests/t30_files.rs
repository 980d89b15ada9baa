//! A node's files: artifacts, copies of its data, logs, and what is collected and removed.

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use support::{Bed, SOON, node, permit, unique};
use trellis_bootstrap::{
    ArtifactFile, ClusterRequest, Deployer as _, Doing, FileMode, ProviderError, RunLedger,
};
use trellis_domain::{Capability, Operation};
use trellis_local::{LocalConfig, LocalDeployer};

#[test]
fn the_backend_offers_everything_but_network_faults() {
    let deployer = LocalDeployer::new(LocalConfig::default());
    assert_eq!(deployer.name(), "local");
    for capability in Capability::ALL {
        let is_offered = deployer.capabilities().contains(capability);
        assert_eq!(is_offered, capability != Capability::NetworkFault);
    }
}

#[tokio::test]
async fn data_of_a_stopped_node_is_saved_and_restored_to_it_and_to_another() {
    let bed = Bed::new().await;
    bed.sh(
        "NODE_1",
        "echo one > data/log; echo up > data/up; sleep 600",
    )
    .await;
    bed.file("NODE_1", "up").await;
    bed.sh("NODE_2", "exit 0").await;
    bed.control.exited(&node("NODE_2")).await;
    bed.stop("NODE_1", SOON).await;
    bed.control
        .save_data(&permit("NODE_1", Operation::SaveData), "before")
        .await
        .unwrap();
    let data = |name: &str| bed.folder.join("nodes").join(name).join("data/log");
    fs::write(data("NODE_1"), "two\n").unwrap();
    for name in ["NODE_1", "NODE_2"] {
        let permit = permit(name, Operation::RestoreData);
        bed.control
            .restore_data(&permit, "before", &node("NODE_1"))
            .await
            .unwrap();
        assert_eq!(fs::read_to_string(data(name)).unwrap(), "one\n");
    }
    let unknown = bed
        .control
        .restore_data(
            &permit("NODE_1", Operation::RestoreData),
            "after",
            &node("NODE_1"),
        )
        .await
        .unwrap_err();
    assert!(
        unknown
            .to_string()
            .ends_with("saved are \"before\" of NODE_1"),
        "{unknown}"
    );
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn logs_and_configuration_are_collected_and_data_and_secrets_are_not() {
    let bed = Bed::new().await;
    bed.control.place(&node("NODE_1"), &[]).await.unwrap();
    let artifacts = [
        ArtifactFile::new("sub/node.yaml", "a: 1"),
        ArtifactFile::new("sub/token", "correct horse").with_mode(FileMode::PRIVATE),
    ];
    bed.control
        .configure(&node("NODE_1"), &artifacts)
        .await
        .unwrap();
    bed.control
        .launch(
            &node("NODE_1"),
            &support::sh("echo hello; echo x > data/x; exit 1"),
        )
        .await
        .unwrap();
    bed.control.exited(&node("NODE_1")).await;
    let target = bed.home.path().join("kept/NODE_1");
    bed.control
        .collect(&support::owned("NODE_1"), &target)
        .await
        .unwrap();
    assert_eq!(
        fs::read_to_string(target.join("logs/node.log")).unwrap(),
        "hello\n"
    );
    assert_eq!(
        fs::read_to_string(target.join("config/sub/node.yaml")).unwrap(),
        "a: 1"
    );
    assert!(!target.join("data").exists());
    assert!(!target.join("config/sub/token").exists());
    fs::write(bed.home.path().join("occupied"), "").unwrap();
    let blocked = bed.home.path().join("occupied/NODE_1");
    let error = bed
        .control
        .collect(&support::owned("NODE_1"), &blocked)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("occupied/NODE_1/logs"),
        "{error}"
    );
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn an_artifact_out_of_the_folder_is_refused() {
    let bed = Bed::new().await;
    bed.control.place(&node("NODE_1"), &[]).await.unwrap();
    let error = bed
        .control
        .configure(&node("NODE_1"), &[ArtifactFile::new("../data/log", "")])
        .await
        .unwrap_err();
    assert!(matches!(error, ProviderError::PathEscape { .. }), "{error}");
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_file_in_the_way_is_named() {
    let bed = Bed::new().await;
    fs::write(bed.folder.join("nodes"), "").unwrap();
    let error = bed.control.place(&node("NODE_1"), &[]).await.unwrap_err();
    let ProviderError::File {
        doing: Doing::Placing,
        path,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(path.starts_with(bed.folder.join("nodes/NODE_1")), "{error}");
    fs::remove_file(bed.folder.join("nodes")).unwrap();
    bed.control.place(&node("NODE_1"), &[]).await.unwrap();
    bed.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_not_empty_is_refused_and_kept_and_not_in_the_ledger() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("thesis");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("chapter"), "").unwrap();
    let ledger = RunLedger::open(home.path(), unique("test").parse().unwrap()).unwrap();
    let ledger = Arc::new(ledger);
    let request = ClusterRequest {
        network: "net".to_owned(),
        folder: folder.clone(),
        ledger: ledger.clone(),
    };
    let deployer = LocalDeployer::new(LocalConfig::default());
    let Err(error) = deployer.open(request).await else {
        panic!("a folder with something in it was taken");
    };
    assert!(
        error
            .to_string()
            .contains("a cluster needs an empty folder"),
        "{error}"
    );
    assert!(folder.join("chapter").exists());
    let ledger = Arc::into_inner(ledger).unwrap();
    assert_eq!(ledger.close().unwrap(), []);
}

#[tokio::test]
async fn a_teardown_removes_read_only_folders_and_tells_what_it_cannot_remove() {
    let bed = Bed::new().await;
    bed.sh(
        "NODE_1",
        "mkdir data/ro; touch data/ro/file; chmod 500 data/ro; exit 0",
    )
    .await;
    bed.control.exited(&node("NODE_1")).await;
    let marker = bed.folder.join(".trellis-run");
    let ours = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, "another-run").unwrap();
    let error = bed.control.teardown().await.unwrap_err().to_string();
    assert!(
        error.contains("no .trellis-run file of run") && error.contains("trellis clean"),
        "{error}"
    );
    fs::write(&marker, ours).unwrap();
    bed.control.teardown().await.unwrap();
    assert!(!bed.folder.exists());
}

#[tokio::test]
async fn a_node_can_be_a_script_among_its_own_artifacts() {
    let bed = Bed::new().await;
    let name = node("NODE_1");
    let placement = bed.control.place(&name, &[]).await.unwrap();
    let script =
        ArtifactFile::new("run.sh", "#!/bin/sh\necho ran\nexit 5\n").with_mode(FileMode::PROGRAM);
    bed.control.configure(&name, &[script]).await.unwrap();
    let program = placement.config_dir.join("run.sh");
    let mode = fs::metadata(&program).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let command = support::command(program.to_str().unwrap(), &[]);
    bed.control.launch(&name, &command).await.unwrap();
    assert_eq!(bed.control.exited(&name).await.status, "exit code 5");
    bed.control.teardown().await.unwrap();
}
