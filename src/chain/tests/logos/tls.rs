//! TLS: nodes behind certificates of an authority of their own.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, routing::get, serve::Listener};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
    server::TlsStream,
};
use trellis_chain::{
    ChainSource, SourceErrorKind,
    http::{HttpConfig, HttpConfigError, HttpRoots},
    logos::LogosSource,
};

const NETWORK: &str =
    r#"{"listen_addresses":[],"n_peers":7,"n_connections":7,"n_pending_connections":0}"#;

/// An authority that nobody knows, and a server that it vouches for as `localhost`.
struct Https {
    port: u16,
    authority: Arc<str>,
    task: JoinHandle<()>,
}

impl Drop for Https {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            // A client that does not believe us is no reason to end.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Https {
    async fn start() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let router = Router::new().route("/network/info", get(async || NETWORK));
        let serve = axum::serve(TlsListener { tcp, acceptor }, router).into_future();
        Self {
            port,
            authority: authority.pem().into(),
            task: tokio::spawn(async move { serve.await.unwrap() }),
        }
    }

    fn source(&self, host: &str, roots: HttpRoots) -> LogosSource {
        let url = format!("{host}:{}", self.port).parse().unwrap();
        let mut config = HttpConfig::new("NODE_1", url);
        config.roots = roots;
        LogosSource::new(config).unwrap()
    }
}

#[tokio::test]
async fn a_node_is_believed_under_the_authority_that_is_given() {
    let https = Https::start().await;
    let roots = HttpRoots::Only(Arc::clone(&https.authority));
    let source = https.source("https://localhost", roots);
    assert_eq!(source.peers().await.unwrap().count, 7);
}

#[tokio::test]
async fn another_authority_another_name_and_no_encryption_are_no_connection_that_holds() {
    let https = Https::start().await;
    let other = Https::start().await;
    let own = HttpRoots::Only(Arc::clone(&https.authority));
    for source in [
        https.source(
            "https://localhost",
            HttpRoots::Only(Arc::clone(&other.authority)),
        ),
        https.source("https://127.0.0.1", own.clone()),
        https.source("http://localhost", own),
    ] {
        let error = source.peers().await.unwrap_err();
        assert!(
            matches!(error.kind, SourceErrorKind::Broken { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("does the address want https?"));
    }
}

#[test]
fn what_is_no_authority_is_refused_before_anybody_is_asked() {
    let refused = |pem: &str| {
        let mut config = HttpConfig::new("NODE_1", "https://localhost".parse().unwrap());
        config.roots = HttpRoots::Only(pem.into());
        LogosSource::new(config).unwrap_err()
    };
    let place = "the given PEM";
    assert_eq!(refused("no PEM at all"), HttpConfigError::NoRoots { place });
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(
        refused(broken),
        HttpConfigError::Certificate { .. }
    ));
}
