//! TLS: connections to nodes, encrypted where their address says so.

use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::config::{HttpConfig, HttpConfigError, HttpRoots};

/// What connects to the node of `config`. Certificates are read only for a node that needs them.
pub(super) fn connector(
    config: &HttpConfig,
) -> Result<HttpsConnector<HttpConnector>, HttpConfigError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // A stream may be silent for long. This is how the end of a node that said no goodbye shows.
    tcp.set_keepalive(Some(config.limits.within));
    let roots = match config.url.scheme() {
        "http" => RootCertStore::empty(),
        "https" => roots(&config.roots)?,
        scheme => {
            let scheme = scheme.to_owned();
            return Err(HttpConfigError::Scheme { scheme });
        }
    };
    // The provider is named: a default of the whole process would be everybody's.
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
    Ok(builder.https_or_http().enable_http1().wrap_connector(tcp))
}

fn roots(roots: &HttpRoots) -> Result<RootCertStore, HttpConfigError> {
    let mut store = RootCertStore::empty();
    let place = match roots {
        HttpRoots::System => {
            // Systems have certificates that nobody can read beside those that count.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "the system"
        }
        HttpRoots::Only(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                store
                    .add(certificate.map_err(unreadable)?)
                    .map_err(unreadable)?;
            }
            "the given PEM"
        }
    };
    if store.is_empty() {
        return Err(HttpConfigError::NoRoots { place });
    }
    Ok(store)
}

fn unreadable(error: impl std::fmt::Display) -> HttpConfigError {
    let reason = error.to_string();
    HttpConfigError::Certificate { reason }
}
