//! Real Logos nodes behind the port of the phrases about chains.
//!
//! What of a scenario's wish they can be given is what their templates use; all else is refused by name. Value is not moved: no wallet of ours can sign for such a chain.

use std::{path::Path, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use logos_node::{IbdPeers, LogosApp, LogosSettings, LogosSettingsError};
use trellis::{Application, NodeHandle, Program};
use trellis_chain::{ChainObserverConfig, ChainSource, StartAt};
use trellis_domain::ExternalNode;
use trellis_steps::{
    StepError, StepResult,
    chain::{ChainApp, ChainDeployment, ChainWallets, ChainWish, NodeMatter},
};

/// The variable that says in which file it stands how a Logos node is run.
pub const VARIABLE: &str = "TRELLIS_LOGOS_NODE";
/// What a template uses to say when the chain begins: any of these.
const GENESIS_TIME: [&str; 3] = [
    "genesis_time",
    "genesis_time_unix_s",
    "genesis_time_unix_ms",
];
/// The value of templates that is k.
const SECURITY_PARAMETER: &str = "security_parameter";
/// The value of templates that is how long a node waits after its download.
const PROLONGED_BOOTSTRAP: &str = "prolonged_bootstrap_ms";

/// The application `name`, whose nodes are run as `file` says; without one, it can be asked of nodes that others run and runs none itself.
///
/// # Errors
/// Everything that is wrong with the file, drawn.
pub fn logos(name: &str, file: Option<&Path>) -> StepResult<LogosApp> {
    let settings = match file {
        Some(file) => load(file)?,
        None => LogosSettings::default(),
    };
    Ok(LogosApp::new(name.parse()?, settings)?)
}

/// How nodes are run, as `file` says.
///
/// # Errors
/// Everything that is wrong with the file, drawn.
pub fn load(file: &Path) -> StepResult<LogosSettings> {
    LogosSettings::load(file).map_err(|error| match error {
        LogosSettingsError::Wrong(wrong) => StepError::new(wrong.render(false)),
        other => other.into(),
    })
}

/// The program that runs nodes of `app`.
pub fn program(app: &LogosApp) -> Program {
    let said = &app.settings().program;
    if said.as_os_str().is_empty() {
        let install = format!(
            "set {VARIABLE} to a file that says how one is run; see docs/src/how-to/chains.md"
        );
        return Program::named("a Logos node", install);
    }
    Program::named(said, format!("{VARIABLE} says where it is"))
}

/// Binds the port to a Logos application.
pub struct LogosPort {
    app: LogosApp,
}

impl LogosPort {
    /// The port of `app`.
    pub fn new(app: LogosApp) -> Self {
        Self { app }
    }

    /// The same application with the value `name`.
    fn with_value(&self, app: LogosApp, name: &str, value: String) -> StepResult<LogosApp> {
        if self.app.uses(name) {
            return Ok(app.with_value(name, value));
        }
        Err(not_used(&format!("{{{{value.{name}}}}}")))
    }
}

/// No template uses what a wish would change.
fn not_used(placeholder: &str) -> StepError {
    StepError::new(format!(
        "these nodes cannot be told so: none of their templates uses {placeholder}"
    ))
}

#[async_trait]
impl ChainApp for LogosPort {
    fn deploy(&self, wish: &ChainWish) -> StepResult<Arc<dyn ChainDeployment>> {
        if !wish.resources.is_empty() || wish.sponsor.is_some() {
            return Err(StepError::new(
                "wallets of these nodes cannot be given anything: what they own is in the genesis block that their templates make",
            ));
        }
        let begins = SystemTime::now() + wish.begins_in.unwrap_or_default();
        let mut app = self.app.clone().with_genesis_time(begins);
        if wish.begins_in.is_some() && !GENESIS_TIME.iter().any(|name| app.uses(name)) {
            return Err(not_used("{{genesis_time}}"));
        }
        if let Some(k) = wish.security_parameter {
            app = self.with_value(app, SECURITY_PARAMETER, k.to_string())?;
        }
        if let Some(period) = wish.prolonged_bootstrap {
            let ms = period.as_millis().to_string();
            app = self.with_value(app, PROLONGED_BOOTSTRAP, ms)?;
        }
        if !wish.deployment_overrides.is_empty() && app.settings().deployment.is_none() {
            return Err(StepError::new(
                "the settings of these nodes do not say which file is the deployment",
            ));
        }
        let ibd_peers = match (wish.uses_ibd, wish.ibd_peers.is_empty()) {
            (false, _) => IbdPeers::OfJoiners,
            (true, true) => IbdPeers::All,
            (true, false) => IbdPeers::Named(wish.ibd_peers.clone()),
        };
        let app = app
            .with_ibd_peers(ibd_peers)
            .with_initial_peers(wish.initial_peers.iter().cloned())
            .with_deployment_overrides(wish.deployment_overrides.clone());
        Ok(Arc::new(Logos { app }))
    }

    fn public_source(&self, node: &ExternalNode) -> StepResult<Arc<dyn ChainSource>> {
        Ok(Arc::new(self.app.public_source(node)?))
    }
}

/// The nodes of one scenario.
struct Logos {
    app: LogosApp,
}

#[async_trait]
impl ChainDeployment for Logos {
    fn application(&self) -> Arc<dyn Application> {
        Arc::new(self.app.clone())
    }

    fn source(&self, node: &NodeHandle) -> StepResult<Arc<dyn ChainSource>> {
        Ok(Arc::new(self.app.source(node)?))
    }

    fn observer(&self, _: &str) -> ChainObserverConfig {
        // The chain may be a public one with a long past, which no phrase looks at.
        ChainObserverConfig::default().with_start(StartAt::Lib)
    }

    fn peer_address(&self, node: &NodeHandle) -> StepResult<String> {
        Ok(self.app.peer_address(node)?)
    }

    fn wallets(&self, _: &str) -> Option<Arc<dyn ChainWallets>> {
        None
    }

    async fn detail(&self, node: &NodeHandle, matter: NodeMatter) -> StepResult<Option<String>> {
        let source = self.app.source(node)?;
        match matter {
            NodeMatter::ChainInfo => Ok(Some(format!("{:?}", source.http().info().await?))),
            NodeMatter::GenesisTime => {
                let time = source.http().time_info().await?;
                Ok(time.map(|time| time.genesis_time_unix_ms.to_string()))
            }
            _ => Ok(None),
        }
    }
}
