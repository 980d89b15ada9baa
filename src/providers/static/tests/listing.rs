//! Listings as people write them, right and wrong.

use std::{collections::BTreeMap, fs};

use tempfile::TempDir;
use trellis_bootstrap::{AttachError, AttachProvider as _, Discovery, in_one_line};
use trellis_domain::Credential;
use trellis_static::StaticProvider;

const HIDDEN: &str = "correct-horse";

/// Discovers the cluster that `text` lists, with the variable `TOKEN` and the file `password` beside it.
async fn discover(text: &str) -> Result<Discovery, String> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("shop.yaml");
    fs::write(&file, text).unwrap();
    fs::write(folder.path().join("password"), format!("{HIDDEN}\n")).unwrap();
    fs::write(folder.path().join("blank"), "\n").unwrap();
    let variables = BTreeMap::from([("TOKEN", HIDDEN), ("BLANK", "")]);
    let look_up = move |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let provider = StaticProvider::new(look_up);
    let found = provider.discover(file.to_str().unwrap()).await;
    found.map_err(|error| {
        let text = in_one_line(&error);
        assert!(!format!("{text} {error:?}").contains(HIDDEN), "{text}");
        text.replace(&format!("{}/", folder.path().display()), "")
    })
}

#[track_caller]
fn secret(credential: Option<&Credential>) -> (&'static str, String) {
    let credential = credential.expect("the node has a credential");
    let secret = match credential {
        Credential::Basic { user, password } => format!("{user}:{}", password.expose()),
        Credential::Bearer(token) => token.expose().to_owned(),
    };
    (credential.class(), secret)
}

#[tokio::test]
async fn nodes_are_found_with_all_that_is_listed_of_them() {
    let found = discover(
        "nodes:\n\
         - { name: A, url: 'http://localhost:1' }\n\
         - name: B\n  \
           endpoints: { http: 'http://10.0.0.2:2', metrics: 'http://10.0.0.2:3' }\n  \
           credential: { basic: { user: carol, password_file: password } }\n\
         credential: { bearer: { token_env: TOKEN } }\n\
         expected: [C, A, C]\n",
    )
    .await
    .unwrap();
    let [a, b] = &found.nodes[..] else {
        panic!("{found:?}")
    };
    assert_eq!((a.name.as_str(), b.name.as_str()), ("A", "B"));
    let endpoint = a.endpoints.first().unwrap();
    assert_eq!(endpoint.to_string(), "http=http://localhost:1");
    assert_eq!(b.endpoints.len(), 2);
    assert_eq!(secret(a.credential.as_ref()), ("bearer", HIDDEN.to_owned()));
    assert_eq!(
        secret(b.credential.as_ref()),
        ("basic", format!("carol:{HIDDEN}"))
    );
    let missing: Vec<String> = found.missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        missing,
        ["C (it is expected, and its address is not listed)"]
    );
    assert!(found.operations.is_none());
    assert!(!format!("{found:?}").contains(HIDDEN));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place_and_without_its_value() {
    for (text, wanted) in [
        (
            "nodes:\n- { nam: A }",
            "shop.yaml:2:5: unknown key `nam`; did you mean `name`?",
        ),
        (
            "hosts: []",
            "shop.yaml:1:1: unknown key `hosts`; known here: nodes, expected, credential",
        ),
        ("expected: []", "the key `nodes` is missing"),
        (
            "nodes:\n- { name: A }",
            "shop.yaml:2:11: A must say once where it answers",
        ),
        (
            "nodes:\n- { name: A, endpoints: {} }",
            "A must say once where it answers",
        ),
        (
            "nodes:\n- { name: 'a b', url: 'http://n:1' }",
            "shop.yaml:2:11: the name cannot be used: node name \"a b\"",
        ),
        (
            "nodes:\n- { name: A, url: 'n:1' }",
            "shop.yaml:2:19: the address of A cannot be used",
        ),
        (
            "nodes:\n- { name: A, url: 'http://me:correct-horse@n:1' }",
            "credentials come from the environment or a file",
        ),
        (
            "nodes:\n- { name: A, url: 'http://n:1' }\n- { name: A, url: 'http://n:2' }",
            "shop.yaml:3:11: A is listed a second time",
        ),
        (
            "nodes: correct-horse",
            "shop.yaml:1:8: this is not the YAML of a listing",
        ),
        ("nodes: [}", "this is not the YAML of a listing"),
    ] {
        let error = discover(text).await.unwrap_err();
        assert!(error.contains(wanted), "{text}\n{error}\n{wanted}");
    }
}

#[tokio::test]
async fn a_secret_comes_from_a_variable_or_a_file_and_from_nowhere_else() {
    for (credential, wanted) in [
        (
            "bearer: { token: correct-horse }",
            "unknown key `token`; did you mean `token_env`?",
        ),
        (
            "basic: { user: u, password: correct-horse }",
            "unknown key `password`; did you mean `password_env`?",
        ),
        (
            "bearer: {}",
            "shop.yaml:1:51: say once where the token is, by `token_env: NAME`",
        ),
        (
            "bearer: { token_env: TOKEN, token_file: password }",
            "say once where the token is",
        ),
        (
            "bearer: { token_env: NONE }",
            "the variable NONE, which should hold the token, is not set",
        ),
        (
            "bearer: { token_env: BLANK }",
            "the variable BLANK, which should hold the token, is not set",
        ),
        (
            "bearer: { token_file: none }",
            "none, which should hold the token, cannot be read: No such file",
        ),
        (
            "bearer: { token_file: blank }",
            "blank, which should hold the token, is empty",
        ),
        (
            "basic: { password_env: TOKEN }",
            "the key `user` is missing",
        ),
        ("", "a credential is either `basic"),
    ] {
        let text =
            format!("nodes: [{{ name: A, url: 'http://n:1', credential: {{ {credential} }} }}]");
        let error = discover(&text).await.unwrap_err();
        assert!(error.contains(wanted), "{text}\n{error}\n{wanted}");
    }
    let error = discover("nodes: []\ncredential: correct-horse")
        .await
        .unwrap_err();
    assert!(error.contains("shop.yaml:2:13: this"), "{error}");
}

#[tokio::test]
async fn a_cluster_without_a_file_is_unknown() {
    let provider = StaticProvider::new(|_| None);
    let error = provider.discover("/nowhere/shop.yaml").await.unwrap_err();
    assert!(
        matches!(error, AttachError::UnknownCluster { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("/nowhere/shop.yaml"), "{error}");
}
