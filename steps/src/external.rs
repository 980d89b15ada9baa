//! External nodes: what a table of them says, before and after its cells are looked up.
//!
//! A feature never holds a credential: `env(NAME)` in a cell stands for a variable, and a table of names alone takes everything else from `trellis.toml`.

use std::collections::BTreeMap;

use trellis_domain::{Credential, Endpoint, ExternalNode, NodeName};
use trellis_settings::{Cell, Settings};

use crate::{StepError, effect::StepArguments};

/// The column without which no node is listed.
const NODE: &str = "node";
/// The other columns, in the order in which they are shown.
const OTHERS: [&str; 5] = ["url", "endpoint", "user", "password", "token"];
/// The endpoint that a row gives, unless it says which.
const USUAL_ENDPOINT: &str = "http";

/// One row of a table of external nodes, as it is written.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ExternalRow {
    name: NodeName,
    cells: BTreeMap<&'static str, String>,
}

/// Shows no cells: one of them may be a credential that went astray.
impl std::fmt::Debug for ExternalRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ExternalRow").field(&self.name).finish()
    }
}

/// The rows of a table of external nodes.
///
/// # Errors
/// Columns that such a table does not have, no rows, or a name that is none; in words.
pub(crate) fn external_rows(step: &StepArguments) -> Result<Vec<ExternalRow>, String> {
    let wanted = format!(
        "a table with the columns node, url and, where wanted, {}",
        OTHERS[1..].join(", ")
    );
    let table = step.table.as_deref().unwrap_or_default();
    let Some((heading, rows)) = table.split_first() else {
        return Err(format!("the step needs {wanted}"));
    };
    let known = |column: &String| {
        let mut columns = OTHERS.into_iter().chain([NODE]);
        columns.find(|known| known == column)
    };
    let columns: Option<Vec<&'static str>> = heading.iter().map(known).collect();
    let columns = columns.filter(|columns| {
        let mut sorted = columns.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len() == columns.len() && columns.contains(&NODE)
    });
    let Some(columns) = columns else {
        let found = heading.join(", ");
        return Err(format!("the step needs {wanted}; this one has {found}"));
    };
    if rows.is_empty() {
        return Err(format!("the step needs {wanted} and at least one row"));
    }
    rows.iter().map(|row| external_row(&columns, row)).collect()
}

fn external_row(columns: &[&'static str], row: &[String]) -> Result<ExternalRow, String> {
    let mut cells: BTreeMap<&'static str, String> = columns
        .iter()
        .zip(row)
        .map(|(column, cell)| (*column, cell.trim().to_owned()))
        .filter(|(_, cell)| !cell.is_empty())
        .collect();
    let name = cells.remove(NODE).unwrap_or_default();
    let name = name.parse().map_err(|error| format!("{error}"))?;
    Ok(ExternalRow { name, cells })
}

/// The nodes of a table's rows, which are listed in `listed_in`. Several rows may be endpoints of one node.
///
/// # Errors
/// Cells that cannot be used, in words that show nothing of a secret.
pub(crate) fn external_nodes(
    rows: &[ExternalRow],
    settings: &Settings,
    listed_in: &str,
) -> Result<Vec<ExternalNode>, String> {
    let mut nodes: Vec<ExternalNode> = Vec::new();
    for row in rows {
        let node = row
            .resolve(settings, listed_in)
            .map_err(|wrong| format!("{}: {wrong}", row.name))?;
        let Some(known) = nodes.iter_mut().find(|known| known.name == node.name) else {
            nodes.push(node);
            continue;
        };
        let twice = node.endpoints.iter().find(|endpoint| {
            let mut given = known.endpoints.iter();
            given.any(|given| given.name() == endpoint.name())
        });
        if let Some(endpoint) = twice {
            return Err(format!(
                "{} is listed twice with an endpoint {}; node names are unique within a scenario",
                node.name,
                endpoint.name()
            ));
        }
        if known.credential.is_some() && node.credential.is_some() {
            return Err(format!("{} has a credential in two rows", node.name));
        }
        known.endpoints.extend(node.endpoints);
        known.credential = known.credential.take().or(node.credential);
    }
    Ok(nodes)
}

impl ExternalRow {
    pub(crate) fn name(&self) -> &NodeName {
        &self.name
    }

    fn resolve(&self, settings: &Settings, listed_in: &str) -> Result<ExternalNode, String> {
        if self.cells.is_empty() {
            let node = settings.external(&self.name);
            return node.map_err(|error| StepError::from(error).to_string());
        }
        let endpoint = self.endpoint(settings)?;
        Ok(ExternalNode {
            name: self.name.clone(),
            endpoints: [endpoint].into(),
            credential: self.credential(settings)?,
            listed_in: listed_in.to_owned(),
        })
    }

    fn endpoint(&self, settings: &Settings) -> Result<Endpoint, String> {
        let name = self.cells.get("endpoint").map(String::as_str);
        let name = name.unwrap_or(USUAL_ENDPOINT).parse();
        let name = name.map_err(|error| format!("{error}"))?;
        let url = self.cell("url", settings)?;
        let url =
            url.ok_or("it has no url; give one, or nothing but its name if trellis.toml lists it")?;
        Endpoint::new(name, url.text()).map_err(|error| match &url {
            Cell::Literal(_) => error.to_string(),
            // What a variable holds is not repeated, whatever it is.
            Cell::Variable { variable, .. } => {
                format!("the variable {variable} holds no URL such as http://10.0.0.2:8080")
            }
        })
    }

    fn credential(&self, settings: &Settings) -> Result<Option<Credential>, String> {
        let user = self.cell("user", settings)?;
        match (
            user,
            self.secret("password", settings)?,
            self.secret("token", settings)?,
        ) {
            (None, None, None) => Ok(None),
            (None, None, Some(token)) => Ok(Some(Credential::Bearer(token))),
            (Some(user), Some(password), None) => Ok(Some(Credential::Basic {
                user: user.text().to_owned(),
                password,
            })),
            _ => Err("a credential is a user with a password, or a token alone".to_owned()),
        }
    }

    fn secret(
        &self,
        column: &'static str,
        settings: &Settings,
    ) -> Result<Option<trellis_domain::Secret>, String> {
        let cell = self.cell(column, settings)?;
        cell.map(|cell| cell.into_secret(column))
            .transpose()
            .map_err(|error| error.to_string())
    }

    fn cell(&self, column: &'static str, settings: &Settings) -> Result<Option<Cell>, String> {
        let cell = self.cells.get(column);
        cell.map(|cell| settings.cell(cell))
            .transpose()
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use trellis_settings::Environment;

    use super::*;

    fn settings() -> Settings {
        Settings::of_environment(Environment::of([
            ("URL", "http://10.0.0.1:80"),
            ("WORD", "hunter2"),
        ]))
    }

    fn read(table: &[&[&str]]) -> Result<Vec<ExternalNode>, String> {
        let rows = table
            .iter()
            .map(|row| row.iter().map(|cell| (*cell).to_owned()).collect());
        let rows = external_rows(&StepArguments {
            table: Some(rows.collect()),
            ..StepArguments::default()
        })?;
        external_nodes(&rows, &settings(), "here")
    }

    #[test]
    fn a_cell_may_stand_for_a_variable_and_a_secret_must() {
        let table: &[&[&str]] = &[
            &["node", "url", "token", "user", "password"],
            &["A", "env(URL)", "env(WORD)", "", ""],
            &["B", "http://10.0.0.2:80", "", "qa", "env(WORD)"],
        ];
        let nodes = read(table).unwrap();
        assert_eq!(
            nodes[0].endpoints.first().unwrap().url().as_str(),
            "http://10.0.0.1/"
        );
        assert_eq!(nodes[0].credential.as_ref().unwrap().class(), "bearer");
        assert_eq!(nodes[1].credential.as_ref().unwrap().class(), "basic");
        for column in ["token", "password"] {
            let wrong = read(&[
                &["node", "url", "user", column],
                &["A", "env(URL)", "", "pass123"],
            ]);
            let wrong = wrong.unwrap_err();
            assert!(wrong.contains("write env(NAME) instead"), "{wrong}");
            assert!(!wrong.contains("pass123"), "{wrong}");
        }
    }

    #[test]
    fn what_a_variable_holds_is_never_repeated() {
        let wrong = read(&[&["node", "url"], &["A", "env(WORD)"]]).unwrap_err();
        assert!(wrong.contains("the variable WORD holds no URL"), "{wrong}");
        assert!(!wrong.contains("hunter2"), "{wrong}");
    }

    #[test]
    fn rows_of_one_name_are_endpoints_of_one_node() {
        let heading: &[&str] = &["node", "url", "endpoint"];
        let nodes = read(&[
            heading,
            &["A", "http://10.0.0.1:80", "http"],
            &["A", "http://10.0.0.1:81", "metrics"],
        ]);
        assert_eq!(nodes.unwrap()[0].endpoints.len(), 2);
        let row: &[&str] = &["A", "http://10.0.0.1:80", "http"];
        assert!(
            read(&[heading, row, row])
                .unwrap_err()
                .contains("listed twice")
        );
    }

    #[test]
    fn a_name_alone_is_one_of_the_settings() {
        let wrong = read(&[&["node"], &["A"]]).unwrap_err();
        assert!(
            wrong.contains(r#"the settings know no node "A""#),
            "{wrong}"
        );
    }
}
