//! Running: one query on one snapshot, by one plan, within its budget.
//!
//! Where the plan has the wanted order, views are answered as they come. Where it has not, the best of what was looked at are answered; if the budget ends before the views do, what was looked at is a piece that is paged through by itself before the next one is begun.

use std::{borrow::Cow, cmp::Ordering, collections::BinaryHeap, ops::ControlFlow};

use super::{
    QueryError,
    answer::Row,
    budget::Budget,
    cursor::{After, Cursor},
    filter::Seen,
    plan::Plan,
    uqf::{Direction, Query},
};
use crate::{
    storage::{KeyRange, Snapshot, StorageError, Views, Visit, Walk},
    types::{
        TenantScope, ViewId, ViewTable,
        datum::{Datum, encoded_len},
        pick::Origin,
        unescape,
    },
};

/// Everything that running needs to know.
pub(super) struct Run<'r> {
    pub(super) query: &'r Query,
    pub(super) snapshot: &'r Snapshot<'r>,
    pub(super) table: &'r ViewTable,
    pub(super) scope: &'r TenantScope,
    pub(super) plan: &'r Plan,
    pub(super) limit: usize,
}

/// What running came to.
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    /// Their keys, without the tenant.
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) partial: bool,
    pub(super) next: Option<Cursor>,
}

/// How a walk ended.
enum End {
    /// There was nothing more.
    Whole,
    /// The budget was spent behind this key.
    Spent(Vec<u8>),
    /// Whoever looked had enough behind this key.
    Enough(Vec<u8>),
}

impl Run<'_> {
    pub(super) fn go(&self, cursor: &Cursor, budget: &mut Budget) -> Result<Found, QueryError> {
        if self.plan.ordered {
            self.in_stored_order(cursor, budget)
        } else {
            self.sorted(cursor, budget)
        }
    }

    fn in_stored_order(&self, cursor: &Cursor, budget: &mut Budget) -> Result<Found, QueryError> {
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        let mut failed = None;
        let end = self.walk(cursor, budget, &mut |key, bytes| {
            if rows.len() == self.limit {
                return ControlFlow::Break(());
            }
            match self.row(key, bytes) {
                Ok(Some(row)) => {
                    rows.push(row);
                    keys.push(key.to_vec());
                    ControlFlow::Continue(())
                }
                Ok(None) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let partial = matches!(end, End::Spent(_)) && rows.len() < self.limit;
        let next = match end {
            End::Whole => None,
            End::Spent(last) | End::Enough(last) => Some(self.cursor(Some(last), None, None)),
        };
        Ok(Found {
            rows,
            keys,
            partial,
            next,
        })
    }

    fn sorted(&self, cursor: &Cursor, budget: &mut Budget) -> Result<Found, QueryError> {
        let mut best = BinaryHeap::new();
        let mut left_over = false;
        let mut values = Vec::new();
        let after = cursor.after.clone().map(|after| self.position(after));
        let end = self.walk(cursor, budget, &mut |key, bytes| {
            let mut members = Vec::new();
            let Some(seen) = self.admitted(key, bytes, &mut members) else {
                return ControlFlow::Continue(());
            };
            values.clear();
            self.sort_values(&seen, &mut values);
            let position = self.position(After {
                values: values.clone(),
                id: key.to_vec(),
            });
            if after.as_ref().is_some_and(|after| position <= *after) {
                return ControlFlow::Continue(());
            }
            best.push(position);
            if best.len() > self.limit {
                best.pop();
                left_over = true;
            }
            ControlFlow::Continue(())
        })?;
        let best = best.into_sorted_vec();
        let last = best.last().map(|position| position.at.clone());
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        let mut views = self.snapshot.views(self.table, self.scope)?;
        for Position { at, .. } in best {
            let mut row = None;
            // The snapshot is the one that it was found in.
            views.show(&at.id, &mut |bytes| row = Some(self.build(&at.id, bytes)))?;
            if let Some(row) = row {
                rows.push(row?);
                keys.push(at.id);
            }
        }
        let (through, rest) = match end {
            End::Spent(_) if cursor.after.is_some() => {
                return Err(QueryError::CursorOutdated {
                    why: "there are many more views than when it was made",
                });
            }
            End::Spent(reached) | End::Enough(reached) => (Some(reached.clone()), Some(reached)),
            End::Whole => (cursor.through.clone(), cursor.through.clone()),
        };
        let partial = rest.is_some();
        let next = if left_over {
            Some(self.cursor(cursor.from.clone(), through, last))
        } else {
            rest.map(|reached| self.cursor(Some(reached), None, None))
        };
        Ok(Found {
            rows,
            keys,
            partial,
            next,
        })
    }

    fn cursor(
        &self,
        from: Option<Vec<u8>>,
        through: Option<Vec<u8>>,
        after: Option<After>,
    ) -> Cursor {
        Cursor {
            plan: self.plan.name(),
            from,
            through,
            after,
        }
    }

    /// Shows what the plan reaches behind the cursor, by the keys of views, while there is budget.
    fn walk(
        &self,
        cursor: &Cursor,
        budget: &mut Budget,
        visit: Visit<'_>,
    ) -> Result<End, QueryError> {
        let backwards = self.plan.backwards;
        let mut last = cursor.from.clone().unwrap_or_default();
        let mut failed = None;
        let mut views = match self.plan.index {
            Some(_) => Some(self.snapshot.views(self.table, self.scope)?),
            None => None,
        };
        for range in self.ranges(cursor) {
            let mut end = None;
            let walk = Walk {
                table: self.table,
                index: self.plan.index.as_ref(),
                range,
                backwards,
            };
            self.snapshot.walk(self.scope, &walk, &mut |key, value| {
                if budget.is_spent() {
                    end = Some(End::Spent(last.clone()));
                    return ControlFlow::Break(());
                }
                let visited = resolved(views.as_mut(), key, value, &mut |key, bytes| {
                    budget.spend(bytes.len());
                    visit(key, bytes)
                });
                match visited {
                    Ok(ControlFlow::Continue(())) => {
                        last.clear();
                        last.extend(key);
                        ControlFlow::Continue(())
                    }
                    Ok(ControlFlow::Break(())) => {
                        end = Some(End::Enough(last.clone()));
                        ControlFlow::Break(())
                    }
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            if let Some(end) = end {
                return Ok(end);
            }
        }
        Ok(End::Whole)
    }

    fn ranges(&self, cursor: &Cursor) -> Vec<KeyRange> {
        let backwards = self.plan.backwards;
        let left = |range: &KeyRange| {
            let mut range = range.clone();
            if let Some(from) = &cursor.from {
                range = range.after(from, backwards);
            }
            if let Some(through) = &cursor.through {
                range = range.through(through, backwards);
            }
            range
        };
        let ranges = self.plan.ranges.iter().map(left);
        if backwards {
            ranges.rev().collect()
        } else {
            ranges.collect()
        }
    }

    /// The row of a view, if it is meant.
    fn row(&self, key: &[u8], bytes: &[u8]) -> Result<Option<Row>, StorageError> {
        if !self.query.filter.is_empty() {
            let mut members = Vec::new();
            if self.admitted(key, bytes, &mut members).is_none() {
                return Ok(None);
            }
        }
        self.build(key, bytes).map(Some)
    }

    fn build(&self, key: &[u8], bytes: &[u8]) -> Result<Row, StorageError> {
        let id = ViewId::from(&*id_of(key));
        Row::read(id, bytes, self.query.fields.as_deref())
    }

    /// The view as the filter sees it, if it is meant.
    fn admitted<'a, 'b>(
        &self,
        key: &'a [u8],
        bytes: &'b [u8],
        members: &'a mut Vec<Datum<'b>>,
    ) -> Option<Admitted<'a, 'b>> {
        // What cannot be read has no members; it is named when it is to be answered.
        let origin = self.query.picker.pick(bytes, members).unwrap_or_default();
        let id = id_of(key);
        let seen = Seen {
            id: &id,
            origin,
            members,
        };
        let admitted = self.query.filter.admits(&seen);
        admitted.then_some(Admitted {
            id,
            origin,
            members,
        })
    }

    /// The bytes by which the view is sorted.
    fn sort_values(&self, admitted: &Admitted<'_, '_>, values: &mut Vec<u8>) {
        let seen = Seen {
            id: &admitted.id,
            origin: admitted.origin,
            members: admitted.members,
        };
        sort_by(self.query, &seen, values);
    }

    fn position(&self, at: After) -> Position {
        Position {
            at,
            ids: self.query.order.ids,
        }
    }
}

/// Shows the key and bytes of the view that an entry is of: itself, or one of `views` where it is an entry of an index.
fn resolved(
    views: Option<&mut Views<'_>>,
    key: &[u8],
    value: &[u8],
    visit: Visit<'_>,
) -> Result<ControlFlow<()>, StorageError> {
    let Some(views) = views else {
        return Ok(visit(key, value));
    };
    let mut visited = ControlFlow::Continue(());
    if let Some(len) = encoded_len(key) {
        let id = &key[len..];
        views.show(id, &mut |bytes| visited = visit(id, bytes))?;
    }
    Ok(visited)
}

fn sort_by(query: &Query, seen: &Seen<'_, '_>, values: &mut Vec<u8>) {
    for (operand, direction) in &query.order.keys {
        let start = values.len();
        seen.datum(operand).encode(values);
        if *direction == Direction::Descending {
            values[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
}

/// The bytes by which a view is sorted that was answered before.
pub(super) fn position_of(query: &Query, seen: &Seen<'_, '_>) -> Vec<u8> {
    let mut values = Vec::new();
    sort_by(query, seen, &mut values);
    values
}

struct Admitted<'a, 'b> {
    id: Cow<'a, str>,
    origin: Origin,
    members: &'a [Datum<'b>],
}

/// Where a view is among those that are sorted.
#[derive(PartialEq, Eq)]
struct Position {
    at: After,
    ids: Direction,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let ids = || match self.ids {
            Direction::Ascending => self.at.id.cmp(&other.at.id),
            Direction::Descending => other.at.id.cmp(&self.at.id),
        };
        self.at.values.cmp(&other.at.values).then_with(ids)
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The id that a key without its tenant is of.
fn id_of(key: &[u8]) -> Cow<'_, str> {
    let key = String::from_utf8_lossy(key);
    if key.contains('%') {
        let id = unescape(&key);
        id.map_or(key, Cow::Owned)
    } else {
        key
    }
}
