//! Tables: rows of a step's data table by the names of its columns.

use cucumber::gherkin::Step;

use crate::effect::StepArguments;

/// The cells of each row, in the order of `columns`, whatever their order in the feature.
///
/// # Errors
/// No table, columns that are not exactly these, or no rows; in words.
pub(crate) fn rows<const N: usize>(
    table: Option<&[Vec<String>]>,
    columns: [&str; N],
) -> Result<Vec<[String; N]>, String> {
    let wanted = || {
        let plural = if N == 1 { "" } else { "s" };
        format!("a table with the column{plural} {}", columns.join(", "))
    };
    let Some((heading, rows)) = table.and_then(<[_]>::split_first) else {
        return Err(format!("the step needs {}", wanted()));
    };
    let place = |column: &&str| heading.iter().position(|found| found.trim() == *column);
    let places: Vec<usize> = columns.iter().filter_map(place).collect();
    let Ok(places) = <[usize; N]>::try_from(places) else {
        let found = heading.join(", ");
        return Err(format!("the step needs {}; this one has {found}", wanted()));
    };
    if heading.len() != N {
        let found = heading.join(", ");
        return Err(format!("the step needs {}; this one has {found}", wanted()));
    }
    if rows.is_empty() {
        return Err(format!("the step needs {} and at least one row", wanted()));
    }
    let cell =
        |row: &Vec<String>, place: usize| row.get(place).map_or("", |cell| cell.trim()).to_owned();
    Ok(rows
        .iter()
        .map(|row| places.map(|place| cell(row, place)))
        .collect())
}

/// The same of a step that is being run.
pub(crate) fn rows_of<const N: usize>(
    step: &Step,
    columns: [&str; N],
) -> Result<Vec<[String; N]>, String> {
    rows(step.table.as_ref().map(|table| &*table.rows), columns)
}

/// The same of a step that is being checked.
pub(crate) fn rows_in<const N: usize>(
    step: &StepArguments,
    columns: [&str; N],
) -> Result<Vec<[String; N]>, String> {
    rows(step.table.as_deref(), columns)
}

/// A cell as what it should be.
///
/// # Errors
/// The column, the cell, and what is wrong with it.
pub(crate) fn cell<T>(column: &str, cell: &str) -> Result<T, String>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    cell.parse()
        .map_err(|error| format!("the column {column} has {cell:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> Vec<Vec<String>> {
        let row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
        rows.iter().map(row).collect()
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let table = table(&[&["b", " a "], &["2", "1"], &["4", " 3 "]]);
        assert_eq!(
            rows(Some(&table), ["a", "b"]).unwrap(),
            [["1", "2"], ["3", "4"]]
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let say = |table: Option<&[Vec<String>]>| rows(table, ["a", "b"]).unwrap_err();
        assert_eq!(say(None), "the step needs a table with the columns a, b");
        let other = table(&[&["a", "c"], &["1", "2"]]);
        assert!(say(Some(&other)).ends_with("this one has a, c"));
        let more = table(&[&["a", "b", "c"], &["1", "2", "3"]]);
        assert!(say(Some(&more)).ends_with("this one has a, b, c"));
        let empty = table(&[&["a", "b"]]);
        assert!(say(Some(&empty)).ends_with("at least one row"));
        assert_eq!(
            cell::<u64>("a", "x").unwrap_err(),
            "the column a has \"x\": invalid digit found in string"
        );
    }
}
