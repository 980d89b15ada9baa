//! Cells: `env(NAME)` in a table of a feature stands for a variable, since a feature never holds a credential.

use thiserror::Error;
use trellis_domain::Secret;

use crate::Environment;

/// What a cell of a table stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// The text of the cell.
    Literal(String),
    /// `env(NAME)`: the value of a variable, which may be a secret.
    Variable {
        /// Its name.
        variable: String,
        /// Its value.
        value: Secret,
    },
}

/// Why a cell cannot be used. It names the variable and shows nothing of a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CellError {
    /// `env(..)` around something that is no variable's name.
    #[error(
        "{cell:?} is not env(NAME): a name is letters, digits and '_', and begins with no digit"
    )]
    NotAName {
        /// The cell.
        cell: String,
    },
    /// The variable is missing or empty.
    #[error("the variable {variable} of env({variable}) is not set")]
    Unset {
        /// The variable.
        variable: String,
    },
    /// The variable holds something that is no text.
    #[error("the variable {variable} of env({variable}) is not UTF-8")]
    NotText {
        /// The variable.
        variable: String,
    },
    /// A literal where a secret is wanted.
    #[error(
        "the {what} stands in the feature; write env(NAME) instead, and give it in the variable NAME"
    )]
    Literal {
        /// What the cell is for.
        what: String,
    },
}

/// Gets what `cell` stands for in `environment`.
///
/// # Errors
/// `env(..)` with a name that is none, or with a variable that is not set.
pub fn resolve_cell(cell: &str, environment: &Environment) -> Result<Cell, CellError> {
    let cell = cell.trim();
    let Some(inside) = cell.strip_prefix("env(") else {
        return Ok(Cell::Literal(cell.to_owned()));
    };
    let variable = inside.strip_suffix(')').map(str::trim);
    let variable = variable
        .filter(|name| Environment::is_name(name))
        .ok_or_else(|| CellError::NotAName {
            cell: cell.to_owned(),
        })?
        .to_owned();
    let Some(value) = environment.get(&variable) else {
        return Err(CellError::Unset { variable });
    };
    match value.into_string() {
        Ok(value) => Ok(Cell::Variable {
            variable,
            value: Secret::from(value),
        }),
        Err(_) => Err(CellError::NotText { variable }),
    }
}

impl Cell {
    /// The text that it stands for, for a column that holds no secrets, such as an address.
    pub fn text(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Variable { value, .. } => value.expose(),
        }
    }

    /// The secret that it stands for; `what` says what the cell is for, such as `password of NODE_1`.
    ///
    /// # Errors
    /// [`CellError::Literal`]: a secret must not stand in a feature.
    pub fn into_secret(self, what: &str) -> Result<Secret, CellError> {
        match self {
            Self::Literal(_) => Err(CellError::Literal {
                what: what.to_owned(),
            }),
            Self::Variable { value, .. } => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::of([("TOKEN", "correct horse"), ("EMPTY", "")])
    }

    #[test]
    fn a_cell_is_its_text_unless_it_names_a_variable() {
        let url = resolve_cell(" http://10.0.0.2:80 ", &environment()).unwrap();
        assert_eq!(url.text(), "http://10.0.0.2:80");
        let token = resolve_cell("env(TOKEN)", &environment()).unwrap();
        assert_eq!(token.text(), "correct horse");
        assert!(!format!("{token:?}").contains("horse"), "{token:?}");
        assert_eq!(
            token.into_secret("token").unwrap().expose(),
            "correct horse"
        );
    }

    #[test]
    fn a_variable_that_is_not_there_is_named() {
        for cell in ["env(MISSING)", "env( EMPTY )"] {
            let error = resolve_cell(cell, &environment()).unwrap_err();
            assert!(matches!(error, CellError::Unset { .. }), "{error}");
        }
        assert_eq!(
            resolve_cell("env(MISSING)", &environment())
                .unwrap_err()
                .to_string(),
            "the variable MISSING of env(MISSING) is not set"
        );
    }

    #[test]
    fn what_is_almost_a_variable_is_no_literal() {
        for cell in ["env()", "env(TOKEN", "env(1A)", "env(A B)", "env(TOKEN) "] {
            let resolved = resolve_cell(cell, &environment());
            let refused = matches!(resolved, Err(CellError::NotAName { .. }));
            assert_eq!(refused, cell != "env(TOKEN) ", "{cell}");
        }
    }

    #[test]
    fn a_secret_in_a_feature_is_refused_and_not_repeated() {
        let cell = resolve_cell("hunter2", &environment()).unwrap();
        let error = cell.into_secret("password of NODE_1").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
