//! Queries against a plain model: the same views in the same order, in pages that join to exactly the whole, for each tenant its own.

mod queried;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use projection::settings::Engine;
use proptest::{prelude::*, sample::select};
use queried::{Queried, ids};
use serde_json::{Value, json};

/// Text with what could break keys in it, more often than chance would put it there.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(":".to_owned()),
        Just("%".to_owned()),
        Just("%3A".to_owned()),
        Just("\0".to_owned()),
        Just("\u{10ffff}".to_owned()),
        Just(";".to_owned()),
        "[ab]{0,2}",
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn engine() -> impl Strategy<Value = Engine> {
    select(vec![Engine::Mdbx, Engine::Redb])
}

/// A member of a view: few values, so that they meet.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (-2_i64..4).prop_map(Value::from),
        1 => (-2_i32..4).prop_map(|half| Value::from(f64::from(half) / 2.0)),
        4 => "[ab]{0,2}".prop_map(Value::from),
        1 => Just("x".repeat(120)).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => proptest::collection::vec((0_i64..2).prop_map(Value::from), 0..2).prop_map(Value::from),
    ]
}

fn view() -> impl Strategy<Value = Value> {
    let members = proptest::collection::btree_map("[xy]", value(), 0..3);
    (members, proptest::option::of(value())).prop_map(|(members, deep)| {
        let mut view = json!(members);
        if let Some(deep) = deep {
            view["o"] = json!({ "z": deep });
        }
        view
    })
}

fn path() -> impl Strategy<Value = &'static str> {
    select(vec!["x", "y", "o.z"])
}

fn filter() -> impl Strategy<Value = Value> {
    let bound = prop_oneof![
        (-2_i64..4).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from)
    ];
    let scalar = value()
        .prop_filter("scalar", |value| !value.is_array())
        .boxed();
    let test = prop_oneof![
        (select(vec!["eq", "ne"]), value()).prop_map(|(name, value)| json!({ name: value })),
        (select(vec!["gt", "gte", "lt", "lte"]), bound.clone())
            .prop_map(|(name, value)| json!({ name: value })),
        (bound.clone(), bound).prop_map(|(from, to)| json!({"gte": from, "lt": to})),
        proptest::collection::vec(scalar.clone(), 1..3).prop_map(|values| json!({ "in": values })),
        "[ab]{0,1}".prop_map(|start| json!({ "prefix": start })),
        scalar
            .clone()
            .prop_map(|value| json!({ "contains": value })),
        any::<bool>().prop_map(|there| json!({ "exists": there })),
    ];
    let of_ids = prop_oneof![
        "[ab:%]{0,2}".prop_map(|start| json!({"$id": {"prefix": start}})),
        "[ab]{1,2}".prop_map(|id| json!({ "$id": id })),
        proptest::collection::vec("[ab]{1,2}", 1..3).prop_map(|ids| json!({"$id": {"in": ids}})),
    ];
    let leaf = prop_oneof![
        6 => (path(), test).prop_map(|(path, test)| json!({ path: test })),
        1 => (path(), scalar).prop_map(|(path, value)| json!({ path: value })),
        2 => of_ids,
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({ "and": all })),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|any| json!({ "or": any })),
            inner.prop_map(|not| json!({ "not": not })),
        ]
    })
}

fn sort() -> impl Strategy<Value = Value> {
    let field = prop_oneof![4 => path(), 1 => Just("$id"), 1 => Just("$last_seq")];
    let direction = select(vec!["asc", "desc"]);
    let one = (field, direction).prop_map(|(field, dir)| json!({"field": field, "dir": dir}));
    proptest::collection::vec(one, 1..3).prop_map(Value::from)
}

/// The language, said again in the plainest way.
mod model {
    use super::*;

    pub(crate) fn member<'v>(view: &'v Value, path: &str) -> Option<&'v Value> {
        path.split('.')
            .try_fold(view, |value, name| value.get(name))
    }

    pub(crate) fn admits(filter: &Value, id: &str, view: &Value) -> bool {
        filter
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, value)| match name.as_str() {
                "and" => value
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|part| admits(part, id, view)),
                "or" => value
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|part| admits(part, id, view)),
                "not" => !admits(value, id, view),
                path => {
                    let id = json!(id);
                    let member = if path == "$id" {
                        Some(&id)
                    } else {
                        member(view, path)
                    };
                    match value.as_object() {
                        Some(tests) => tests
                            .iter()
                            .all(|(name, wanted)| holds(name, member, wanted)),
                        None => holds("eq", member, value),
                    }
                }
            })
    }

    fn same(a: &Value, b: &Value) -> bool {
        match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
            _ => a == b,
        }
    }

    fn ordering(a: &Value, b: &Value) -> Option<Ordering> {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn holds(name: &str, member: Option<&Value>, wanted: &Value) -> bool {
        let compared = || member.and_then(|member| ordering(member, wanted));
        match name {
            "eq" => member.is_some_and(|member| same(member, wanted)),
            "ne" => !holds("eq", member, wanted),
            "gt" => compared() == Some(Ordering::Greater),
            "gte" => matches!(compared(), Some(Ordering::Greater | Ordering::Equal)),
            "lt" => compared() == Some(Ordering::Less),
            "lte" => matches!(compared(), Some(Ordering::Less | Ordering::Equal)),
            "in" => wanted
                .as_array()
                .unwrap()
                .iter()
                .any(|one| holds("eq", member, one)),
            "prefix" => member
                .and_then(Value::as_str)
                .is_some_and(|text| text.starts_with(wanted.as_str().unwrap())),
            "contains" => match (member, wanted) {
                (Some(Value::String(text)), Value::String(piece)) => text.contains(piece.as_str()),
                (Some(Value::Array(items)), wanted) => items.iter().any(|item| same(item, wanted)),
                _ => false,
            },
            "exists" => member.is_some() == wanted.as_bool().unwrap(),
            other => panic!("{other}"),
        }
    }

    /// The place of a kind among kinds.
    fn kind(member: Option<&Value>) -> u8 {
        match member {
            None => 0,
            Some(Value::Null) => 1,
            Some(Value::Bool(false)) => 2,
            Some(Value::Bool(true)) => 3,
            Some(Value::Number(_)) => 4,
            Some(Value::String(_)) => 5,
            Some(Value::Array(_) | Value::Object(_)) => 6,
        }
    }

    /// As keys are stored.
    fn escaped(id: &str) -> String {
        id.replace('%', "%25").replace(':', "%3A")
    }

    pub(crate) fn compare(
        sort: &Value,
        (a, x): (&str, &Value),
        (b, y): (&str, &Value),
    ) -> Ordering {
        let mut direction = "asc";
        for key in sort.as_array().into_iter().flatten() {
            direction = key["dir"].as_str().unwrap();
            let ordering = match key["field"].as_str().unwrap() {
                "$id" => break,
                // All of them were written by one event.
                "$last_seq" => Ordering::Equal,
                path => {
                    let (x, y) = (member(x, path), member(y, path));
                    let values = || ordering(x?, y?);
                    kind(x)
                        .cmp(&kind(y))
                        .then(values().unwrap_or(Ordering::Equal))
                }
            };
            match (ordering, direction) {
                (Ordering::Equal, _) => {}
                (ordering, "desc") => return ordering.reverse(),
                (ordering, _) => return ordering,
            }
        }
        let ids = escaped(a).cmp(&escaped(b));
        if direction == "desc" {
            ids.reverse()
        } else {
            ids
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn pages_join_to_exactly_what_the_plain_model_answers(
        views in proptest::collection::btree_map("[ab:%]{1,3}", view(), 0..24),
        queries in proptest::collection::vec((filter(), proptest::option::of(sort()), 1_usize..6, proptest::option::of(1_u64..9)), 20..60),
        indexes in proptest::sample::subsequence(vec!["x", "y", "o.z"], 0..=3),
        engine in engine(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut queried = Queried::open(folder.path(), engine, &indexes);
        let all = views.iter().map(|(id, view)| ((String::new(), id.clone()), Some(view.clone())));
        queried.put(&all.collect());
        for (filter, sort, limit, rows) in queries {
            let mut query = json!({"view": "thing", "filter": filter, "limit": limit, "explain": true});
            let sort = sort.unwrap_or(Value::Null);
            query["sort"] = sort.clone();
            if let Some(rows) = rows {
                query["budget"] = json!({ "rows": rows });
            }
            let mut expected: Vec<(&str, &Value)> = views
                .iter()
                .map(|(id, view)| (id.as_str(), view))
                .filter(|(id, view)| model::admits(&filter, id, view))
                .collect();
            expected.sort_by(|a, b| model::compare(&sort, *a, *b));
            let pages = queried.pages("", &query);
            let mut found = ids(&pages);
            let mut expected: Vec<String> = expected.iter().map(|(id, _)| (*id).to_owned()).collect();
            let pieces = pages.iter().any(|page| page.partial);
            let stored = pages.iter().all(|page| page.explain.as_ref().unwrap().order == "as stored");
            if pieces && !stored {
                // In pieces, each is in order by itself.
                found.sort();
                expected.sort();
            }
            prop_assert_eq!(found, expected, "{} through {:?}", query, pages[0].explain);
            for page in &pages {
                prop_assert!(page.rows.len() <= limit);
                for row in &page.rows {
                    prop_assert_eq!(&row.view.value(), &views[row.id.as_str()]);
                }
            }
        }
    }

    #[test]
    fn no_query_of_a_tenant_shows_a_view_of_another(
        views in proptest::collection::btree_map((hostile(), hostile().prop_filter("an id", |id| !id.is_empty())), 0_i64..4, 1..24),
        strangers in proptest::collection::vec(hostile(), 0..3),
        engine in engine(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut queried = Queried::open(folder.path(), engine, &["n", "owner"]);
        // Each view says whose it is, which is what it is looked for by.
        let all = views.iter().map(|((tenant, id), number)| {
            ((tenant.clone(), id.clone()), Some(json!({"n": number, "owner": tenant})))
        });
        queried.put(&all.collect());
        let tenants: BTreeSet<&String> = views.keys().map(|(tenant, _)| tenant).chain(&strangers).collect();
        for tenant in tenants {
            let own: BTreeSet<String> = views.keys().filter(|(owner, _)| owner == tenant).map(|(_, id)| id.clone()).collect();
            for query in hostile_queries(&views) {
                for page in queried.pages(tenant, &query) {
                    for row in &page.rows {
                        let view = row.view.value();
                        prop_assert_eq!(view["owner"].as_str(), Some(tenant.as_str()), "{}", query);
                    }
                }
            }
            for query in [json!({"view": "thing", "limit": 3}), json!({"view": "thing", "limit": 3, "sort": [{"field": "n", "dir": "desc"}]})] {
                let found: BTreeSet<String> = ids(&queried.pages(tenant, &query)).into_iter().collect();
                prop_assert_eq!(&found, &own, "{}", query);
            }
        }
    }
}

/// Queries that ask for what others have.
fn hostile_queries(views: &BTreeMap<(String, String), i64>) -> Vec<Value> {
    let mut queries = vec![
        json!({"view": "thing", "sort": [{"field": "n"}]}),
        json!({"view": "thing", "sort": [{"field": "n", "dir": "desc"}], "limit": 2}),
        json!({"view": "thing", "sort": [{"field": "$id", "dir": "desc"}], "limit": 2}),
        json!({"view": "thing", "filter": {"n": {"exists": true}}, "sort": [{"field": "owner"}]}),
        json!({"view": "thing", "filter": {"n": {"gte": 0}}, "budget": {"rows": 2}}),
        json!({"view": "thing", "filter": {"$id": {"prefix": ""}}}),
    ];
    for (tenant, id) in views.keys() {
        queries.push(json!({"view": "thing", "filter": {"$id": id}}));
        queries.push(json!({"view": "thing", "filter": {"$id": {"prefix": format!(":{id}")}}}));
        queries.push(json!({"view": "thing", "filter": {"$id": format!("{tenant}:{id}")}}));
        queries.push(json!({"view": "thing", "filter": {"owner": tenant}}));
        queries.push(json!({"view": "thing", "filter": {"owner": {"prefix": tenant}}}));
    }
    queries
}
