//! The inventory table: all nodes of a cluster as aligned plain text.

use std::fmt::Write as _;

use trellis_domain::{NodeHandle, NodeInventory};

/// The headings of the columns, in order.
const HEADINGS: [&str; 6] = [
    "NODE",
    "ORIGIN",
    "OWNERSHIP",
    "STATE",
    "ENDPOINTS",
    "INSTANCE",
];
/// What stands in a cell that has nothing to show.
const NOTHING: &str = "-";

/// One line a node, below a heading; no line ends in blanks and the last one has no line break.
pub fn inventory_table(inventory: &NodeInventory) -> String {
    if inventory.is_empty() {
        return "(no nodes)".to_owned();
    }
    let rows: Vec<[String; 6]> = inventory.nodes().map(row).collect();
    let headings = HEADINGS.map(str::to_owned);
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let cells = std::iter::once(&headings).chain(&rows);
        cells
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    });
    let lines: Vec<String> = std::iter::once(&headings)
        .chain(&rows)
        .map(|row| line(row, &widths))
        .collect();
    lines.join("\n")
}

fn row(node: &NodeHandle) -> [String; 6] {
    [
        node.name().to_string(),
        list(&node.origins),
        node.ownership.to_string(),
        node.state.to_string(),
        list(&node.endpoints),
        node.instance.clone().unwrap_or_else(|| NOTHING.to_owned()),
    ]
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() {
        NOTHING.to_owned()
    } else {
        items.join(", ")
    }
}

fn line(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        write!(line, "{cell:<width$}  ").expect("a String takes any text");
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use trellis_domain::{Endpoint, NodeSighting, NodeState, Origin};

    use super::*;

    fn sighting(name: &str, origin: Origin, url: &str) -> NodeSighting {
        let mut sighting = NodeSighting::new(name.parse().unwrap(), origin);
        sighting
            .endpoints
            .insert(Endpoint::new("http".parse().unwrap(), url).unwrap());
        sighting
    }

    #[test]
    fn the_table_shows_every_node_in_aligned_columns() {
        let managed = || Origin::Managed {
            deployer: "local".into(),
        };
        let mut inventory = NodeInventory::default();
        inventory
            .merge([
                sighting("NODE_1", managed(), "http://127.0.0.1:4001"),
                sighting("NODE_10", managed(), "http://127.0.0.1:4010"),
                sighting(
                    "PUBLIC_1",
                    Origin::External {
                        listed_in: "a.feature:7".into(),
                    },
                    "http://10.1.2.3:80",
                ),
            ])
            .unwrap();
        let first = "NODE_1".parse().unwrap();
        inventory.started(&first, Some("pid 4711".into())).unwrap();
        inventory
            .set_state(&"NODE_10".parse().unwrap(), NodeState::Stopped)
            .unwrap();
        insta::assert_snapshot!(inventory_table(&inventory), @r"
        NODE      ORIGIN                  OWNERSHIP  STATE     ENDPOINTS                   INSTANCE
        NODE_1    managed (local)         owned      starting  http=http://127.0.0.1:4001  pid 4711
        NODE_10   managed (local)         owned      stopped   http=http://127.0.0.1:4010  -
        PUBLIC_1  external (a.feature:7)  borrowed   running   http=http://10.1.2.3        -
        ");
    }

    #[test]
    fn an_empty_inventory_says_so() {
        assert_eq!(inventory_table(&NodeInventory::default()), "(no nodes)");
    }
}
