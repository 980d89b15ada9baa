//! Secrets: a listing says where they are, and they are got from there. A listing never holds one.

use std::{fs, path::Path, sync::Arc};

use serde::Deserialize;
use serde_saphyr::Spanned;
use trellis_domain::{Credential, Secret};

use crate::{ListingPlace, StaticError, listing::place};

/// Finds the value of a variable. What reads the environment is outside, in one place.
pub(crate) type LookUp = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where a credential is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadCredential {
    basic: Option<ReadBasic>,
    bearer: Option<ReadBearer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadBasic {
    user: String,
    password_env: Option<String>,
    password_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadBearer {
    token_env: Option<String>,
    token_file: Option<String>,
}

/// Gets the secrets of one listing.
pub(crate) struct Secrets<'a> {
    /// The listing.
    pub(crate) file: &'a Path,
    /// The environment.
    pub(crate) look_up: &'a LookUp,
}

impl Secrets<'_> {
    /// Gets the credential that `wanted` points at.
    ///
    /// # Errors
    /// What should hold the secret does not, or more or less than one place is named.
    pub(crate) fn get(&self, wanted: &Spanned<ReadCredential>) -> Result<Credential, StaticError> {
        let place = place(self.file, Some(wanted.referenced));
        match (&wanted.value.basic, &wanted.value.bearer) {
            (Some(basic), None) => Ok(Credential::Basic {
                user: basic.user.clone(),
                password: self.secret(
                    &place,
                    "password",
                    basic.password_env.as_deref(),
                    basic.password_file.as_deref(),
                )?,
            }),
            (None, Some(bearer)) => Ok(Credential::Bearer(self.secret(
                &place,
                "token",
                bearer.token_env.as_deref(),
                bearer.token_file.as_deref(),
            )?)),
            _ => Err(StaticError::Malformed {
                place,
                problem: "a credential is either `basic: { user: .., password_env: .. }` or `bearer: { token_env: .. }`".to_owned(),
            }),
        }
    }

    fn secret(
        &self,
        place: &ListingPlace,
        what: &'static str,
        variable: Option<&str>,
        file: Option<&str>,
    ) -> Result<Secret, StaticError> {
        match (variable, file) {
            (Some(variable), None) => self.variable(place, what, variable),
            (None, Some(file)) => self.file(place, what, file),
            _ => Err(StaticError::Malformed {
                place: place.clone(),
                problem: format!(
                    "say once where the {what} is, by `{what}_env: NAME` or `{what}_file: a/file`"
                ),
            }),
        }
    }

    fn variable(
        &self,
        place: &ListingPlace,
        what: &'static str,
        variable: &str,
    ) -> Result<Secret, StaticError> {
        let value = (self.look_up)(variable).filter(|value| !value.is_empty());
        value.map(Secret::from).ok_or_else(|| StaticError::Unset {
            place: place.clone(),
            variable: variable.to_owned(),
            what,
        })
    }

    /// A relative path begins at the listing's folder. Line ends behind the secret do not count.
    fn file(
        &self,
        place: &ListingPlace,
        what: &'static str,
        file: &str,
    ) -> Result<Secret, StaticError> {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let file = folder.join(file);
        let text = fs::read_to_string(&file).map_err(|source| StaticError::UnreadableSecret {
            place: place.clone(),
            file: file.clone(),
            what,
            source,
        })?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            let place = place.clone();
            return Err(StaticError::EmptySecret { place, file, what });
        }
        Ok(Secret::from(secret.to_owned()))
    }
}
