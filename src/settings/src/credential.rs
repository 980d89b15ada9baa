//! Credentials: the file says where a secret is, never what it is.
//!
//! A secret is read when a node that wants it is used, so that settings for many clusters can be shared by people who may see only some of them.

use std::{fs, io, path::PathBuf};

use thiserror::Error;
use trellis_domain::{Credential, Secret};

use crate::{Environment, readers::TEXT, section::Section};

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In this variable.
    Variable(String),
    /// In this file, which holds nothing else; line ends behind it do not count.
    File(PathBuf),
}

/// Where a credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// HTTP basic authentication.
    Basic {
        /// Who.
        user: String,
        /// Where the proof is.
        password: SecretSource,
    },
    /// A bearer token.
    Bearer(SecretSource),
}

/// Why a credential cannot be had. It names where the secret should be and shows nothing of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The variable is missing or empty.
    #[error("the variable {variable}, which should hold the {what}, is not set")]
    Unset {
        /// The variable.
        variable: String,
        /// Password or token.
        what: &'static str,
    },
    /// The variable holds something that is no text.
    #[error("the variable {variable}, which should hold the {what}, is not UTF-8")]
    NotText {
        /// The variable.
        variable: String,
        /// Password or token.
        what: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read the {what} in {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Password or token.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The file has nothing in it.
    #[error("{}, which should hold the {what}, is empty", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
        /// Password or token.
        what: &'static str,
    },
}

const PASSWORD: &str = "password";
const TOKEN: &str = "token";

impl CredentialSource {
    /// Gets the credential.
    ///
    /// # Errors
    /// What should hold the secret does not.
    pub fn resolve(&self, environment: &Environment) -> Result<Credential, CredentialError> {
        match self {
            Self::Basic { user, password } => Ok(Credential::Basic {
                user: user.clone(),
                password: password.resolve(PASSWORD, environment)?,
            }),
            Self::Bearer(token) => Ok(Credential::Bearer(token.resolve(TOKEN, environment)?)),
        }
    }

    /// What the file says below `credential`; `None` if it says nothing, or something is wrong with it.
    pub(crate) fn of_file(parent: &mut Section<'_>) -> Option<Self> {
        let mut section = parent.section("credential")?;
        let basic = section.section("basic").map(Self::basic);
        let bearer = section.section("bearer").map(Self::bearer);
        if section.has("basic") == section.has("bearer") {
            let message = format!("{} must be either basic or bearer", section.name());
            let help = "give { basic = { user = \"..\", password_env = \"NAME\" } } or { bearer = { token_env = \"NAME\" } }";
            section.refuse(message, Some(help.to_owned()));
        }
        section.finish();
        basic.or(bearer)?
    }

    fn basic(mut section: Section<'_>) -> Option<Self> {
        let user = section.value("user", TEXT.wanted, TEXT.of_value);
        if !section.has("user") {
            section.refuse(format!("{} names no user", section.name()), None);
        }
        let password = SecretSource::of_file(
            &mut section,
            SecretKeys {
                literal: PASSWORD,
                env: "password_env",
                file: "password_file",
            },
        );
        section.finish();
        Some(Self::Basic {
            user: user?,
            password: password?,
        })
    }

    fn bearer(mut section: Section<'_>) -> Option<Self> {
        let token = SecretSource::of_file(
            &mut section,
            SecretKeys {
                literal: TOKEN,
                env: "token_env",
                file: "token_file",
            },
        );
        section.finish();
        token.map(Self::Bearer)
    }
}

/// The keys by which a secret is given.
struct SecretKeys {
    /// The one that people try.
    literal: &'static str,
    env: &'static str,
    file: &'static str,
}

impl SecretSource {
    fn of_file(section: &mut Section<'_>, keys: SecretKeys) -> Option<Self> {
        let SecretKeys { literal, env, file } = keys;
        let help = || Some(format!("give {env} = \"NAME\" or {file} = \"a/file\""));
        let variable = section.value(env, "the name of a variable", |value| {
            let name = value.as_str()?;
            Environment::is_name(name).then(|| Self::Variable(name.to_owned()))
        });
        let path = section.value(file, TEXT.wanted, TEXT.of_value);
        let path = path.map(|path| Self::File(section.file.resolve(&path)));
        if section.has(literal) {
            section.known(literal);
            let message = format!(
                "{}.{literal} is in the file; a {literal} comes from the environment or a file of its own",
                section.name()
            );
            section.refuse_key(literal, message, help());
        } else if section.has(env) == section.has(file) {
            let message = format!("{} must say once where the {literal} is", section.name());
            section.refuse(message, help());
        }
        variable.or(path)
    }

    fn resolve(
        &self,
        what: &'static str,
        environment: &Environment,
    ) -> Result<Secret, CredentialError> {
        match self {
            Self::Variable(variable) => {
                let value = environment.get(variable);
                let value = value.ok_or_else(|| CredentialError::Unset {
                    variable: variable.clone(),
                    what,
                })?;
                let text = value.into_string().map_err(|_| CredentialError::NotText {
                    variable: variable.clone(),
                    what,
                })?;
                Ok(Secret::from(text))
            }
            Self::File(file) => {
                let text =
                    fs::read_to_string(file).map_err(|source| CredentialError::Unreadable {
                        file: file.clone(),
                        what,
                        source,
                    })?;
                let secret = text.trim_end_matches(['\r', '\n']);
                if secret.is_empty() {
                    let file = file.clone();
                    return Err(CredentialError::Empty { file, what });
                }
                Ok(Secret::from(secret.to_owned()))
            }
        }
    }
}
