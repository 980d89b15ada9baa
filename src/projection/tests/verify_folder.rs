//! The folder of a verification: nothing is removed that is not its own.

mod rebuilds;

use std::{fs, path::Path};

use projection::{
    pipeline::ShardOptions,
    rebuild::{MemorySources, RebuildError, Verified, verify},
    storage::ViewStore,
    stream::MemorySource,
};
use rebuilds::{manifest, publish_through, settings, start, store};

async fn verified(
    store: &ViewStore,
    stream: &MemorySource,
    scratch: &Path,
) -> Result<Verified, RebuildError> {
    let options = ShardOptions::of(&settings());
    let sources = MemorySources(stream.clone());
    let mut unseen = |_| {};
    verify(
        store,
        &manifest(1, 1),
        &options,
        &sources,
        "account",
        scratch,
        &mut unseen,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_anything_else_in_it_is_not_used_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let (store, stream) = (store(&place), MemorySource::default());
    publish_through(&stream, 0, 300);
    let node = start(&store, manifest(1, 1), &settings(), &stream);
    node.wait_for_floor(&store, 300).await;
    node.stop().await;

    let scratch = folder.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    fs::write(scratch.join("thesis.txt"), "years of work").unwrap();
    for taken in [&scratch, &place] {
        let refused = verified(&store, &stream, taken).await;
        assert!(
            matches!(&refused, Err(RebuildError::NotEmpty { folder }) if folder == taken),
            "{refused:?}"
        );
    }
    let kept = fs::read_to_string(scratch.join("thesis.txt")).unwrap();
    assert_eq!(kept, "years of work");

    // One that is empty, and one that is not there, are made, used and removed.
    fs::remove_file(scratch.join("thesis.txt")).unwrap();
    for _ in 0..2 {
        assert!(
            verified(&store, &stream, &scratch)
                .await
                .unwrap()
                .is_right()
        );
        assert!(!scratch.exists());
    }

    // What is left of a verification that ended early is in nobody's way.
    let nothing = MemorySource::default();
    assert!(verified(&store, &nothing, &scratch).await.is_err());
    assert!(scratch.exists());
    assert!(
        verified(&store, &stream, &scratch)
            .await
            .unwrap()
            .is_right()
    );
    assert!(!scratch.exists());
}
