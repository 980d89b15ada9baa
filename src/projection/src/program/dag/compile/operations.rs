//! Operations: what each name means, and of which types its arguments are.

use serde_json::{Map, Value};

use super::{
    CompileError, Compiler, Typed,
    arguments::{
        cap, fixed, literal, local_name, longer_path, named_parts, path, scale, text, wrong,
    },
};
use crate::program::dag::node::{
    Arithmetic, Comparison, EventField, MetaField, Node, TextOperation, Type,
};

impl Compiler<'_> {
    pub(super) fn operation(
        &mut self,
        members: &Map<String, Value>,
        place: &str,
    ) -> Result<Typed, CompileError> {
        let mut members_left = members.iter();
        let (Some((name, argument)), None) = (members_left.next(), members_left.next()) else {
            return Err(wrong(
                place,
                "a step is an object with one member, its operation",
            ));
        };
        let place = &format!("{place}.{name}");
        if let Some(arithmetic) = arithmetic(name) {
            let nodes = self.several(argument, place, least(arithmetic), Type::Int)?;
            return Ok((Node::Arithmetic(arithmetic, nodes), Type::Int));
        }
        if let Some(comparison) = comparison(name) {
            let pair = self.fixed(argument, place, [Type::Any; 2])?;
            return Ok((Node::Compare(comparison, Box::new(pair)), Type::Bool));
        }
        match name.as_str() {
            "const" => literal(argument, place),
            "event" => {
                let (field, rest) = longer_path(argument, place)?;
                Ok((Node::Event(EventField::of(field), rest), Type::Any))
            }
            "view" if !self.view_allowed => Err(wrong(place, "the keys cannot depend on a view")),
            "view" => Ok((Node::View(path(argument, place)?), Type::Any)),
            "meta" => self.meta(argument, place),
            "local" => self.local(argument, place),
            "ref" => {
                let (slot, kind) = self.reference(text(argument, place)?, place)?;
                Ok((Node::Ref(slot), kind))
            }
            "if" => self.branch(argument, place),
            "switch" => self.switch(argument, place),
            "map" | "filter" | "fold" => self.over_list(name, argument, place),
            _ if name.starts_with("decimal") => self.decimal(name, argument, place),
            _ => self.plain(name, argument, place),
        }
    }

    fn plain(&mut self, name: &str, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        if let Some(operation) = text_operation(name) {
            let node = self.boxed(argument, place, Type::Text)?;
            return Ok((Node::Text(operation, node), Type::Text));
        }
        Ok(match name {
            "coalesce" => (
                Node::Coalesce(self.several(argument, place, 1, Type::Any)?),
                Type::Any,
            ),
            "and" => (
                Node::And(self.several(argument, place, 1, Type::Bool)?),
                Type::Bool,
            ),
            "or" => (
                Node::Or(self.several(argument, place, 1, Type::Bool)?),
                Type::Bool,
            ),
            "not" => (
                Node::Not(self.boxed(argument, place, Type::Bool)?),
                Type::Bool,
            ),
            "concat" => (
                Node::Concat(self.several(argument, place, 1, Type::Any)?),
                Type::Text,
            ),
            "hash" => (
                Node::Hash(self.boxed(argument, place, Type::Text)?),
                Type::Text,
            ),
            "len" => (
                Node::Len(self.boxed(argument, place, Type::Any)?),
                Type::Int,
            ),
            "slice" => {
                let parts = self.fixed(argument, place, [Type::Text, Type::Int, Type::Int])?;
                (Node::Slice(Box::new(parts)), Type::Text)
            }
            "list" => (
                Node::List(self.several(argument, place, 0, Type::Any)?),
                Type::List,
            ),
            "object" => (Node::Object(self.members(argument, place)?), Type::Object),
            "merge" => (
                Node::Merge(self.several(argument, place, 1, Type::Any)?),
                Type::Object,
            ),
            "set" => self.set(argument, place)?,
            "remove" => self.remove(argument, place)?,
            "append" => self.append(argument, place)?,
            _ => return Err(wrong(place, "there is no such operation")),
        })
    }

    fn meta(&self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        match argument.as_str() {
            Some("stream_seq") => Ok((Node::Meta(MetaField::StreamSeq), Type::Int)),
            Some("tenant") => Ok((Node::Meta(MetaField::Tenant), Type::Text)),
            Some("view_type") => Ok((Node::Meta(MetaField::ViewType), Type::Text)),
            Some("view_id") if !self.view_allowed => {
                Err(wrong(place, "the keys cannot depend on a view"))
            }
            Some("view_id") => Ok((Node::Meta(MetaField::ViewId), Type::Text)),
            _ => Err(wrong(
                place,
                "must be stream_seq, tenant, view_type or view_id",
            )),
        }
    }

    fn local(&self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let (name, rest) = longer_path(argument, place)?;
        let further_out = self.locals.iter().rev().position(|local| *local == name);
        let unknown = || wrong(place, format!("no loop around this step names {name:?}"));
        let further_out = further_out.ok_or_else(unknown)?;
        Ok((Node::Local(further_out, rest), Type::Any))
    }

    fn over_list(
        &mut self,
        name: &str,
        argument: &Value,
        place: &str,
    ) -> Result<Typed, CompileError> {
        match name {
            "map" => {
                let [over, local, give] = named_parts(argument, place, ["over", "as", "give"])?;
                let over = self.list_of(over, place)?;
                let give = self.within(&[local], give, place, Type::Any)?;
                Ok((Node::Map { over, give }, Type::List))
            }
            "filter" => {
                let [over, local, keep] = named_parts(argument, place, ["over", "as", "keep"])?;
                let over = self.list_of(over, place)?;
                let keep = self.within(&[local], keep, place, Type::Bool)?;
                Ok((Node::Filter { over, keep }, Type::List))
            }
            _ => {
                let names = ["over", "as", "into", "from", "give"];
                let [over, local, into, from, give] = named_parts(argument, place, names)?;
                let over = self.list_of(over, place)?;
                let from = self.boxed(from, place, Type::Any)?;
                let give = self.within(&[into, local], give, place, Type::Any)?;
                Ok((Node::Fold { over, from, give }, Type::Any))
            }
        }
    }

    fn list_of(&mut self, over: &Value, place: &str) -> Result<Box<Node>, CompileError> {
        self.boxed(over, &format!("{place}.over"), Type::List)
    }

    /// The step of a loop, which may look at what the loop names.
    fn within(
        &mut self,
        names: &[&Value],
        step: &Value,
        place: &str,
        wanted: Type,
    ) -> Result<Box<Node>, CompileError> {
        let around = self.locals.len();
        for name in names {
            let name = local_name(name, place)?;
            if self.locals.contains(&name) {
                return Err(wrong(place, format!("{name:?} is named twice")));
            }
            self.locals.push(name);
        }
        let step = self.boxed(step, place, wanted);
        self.locals.truncate(around);
        step
    }

    fn decimal(
        &mut self,
        name: &str,
        argument: &Value,
        place: &str,
    ) -> Result<Typed, CompileError> {
        let quotient = |of, by, scale| (Node::DecimalQuotient { of, by, scale }, Type::Text);
        match name {
            "decimal_div" => {
                let [of, by, digits] = named_parts(argument, place, ["of", "by", "scale"])?;
                let of = self.boxed(of, place, Type::Any)?;
                let by = self.boxed(by, place, Type::Any)?;
                Ok(quotient(of, Some(by), scale(digits, place)?))
            }
            "decimal_round" => {
                let [of, digits] = named_parts(argument, place, ["of", "scale"])?;
                let of = self.boxed(of, place, Type::Any)?;
                Ok(quotient(of, None, scale(digits, place)?))
            }
            "decimal_order" => {
                let pair = self.fixed(argument, place, [Type::Any; 2])?;
                Ok((Node::DecimalOrder(Box::new(pair)), Type::Int))
            }
            _ => {
                let operation = name.strip_prefix("decimal_").and_then(arithmetic);
                let operation =
                    operation.ok_or_else(|| wrong(place, "there is no such operation"))?;
                let nodes = self.several(argument, place, least(operation), Type::Any)?;
                Ok((Node::Decimal(operation, nodes), Type::Text))
            }
        }
    }

    fn branch(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let [condition, then, otherwise] = fixed(argument, place)?;
        let condition = self.expect(condition, place, Type::Bool)?;
        let (then, one) = self.node(then, place)?;
        let (otherwise, other) = self.node(otherwise, place)?;
        Ok((
            Node::If(Box::new([condition, then, otherwise])),
            one.or(other),
        ))
    }

    fn switch(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let [on, cases, default] = named_parts(argument, place, ["on", "cases", "default"])?;
        let on = self.boxed(on, place, Type::Text)?;
        let cases = self.members(cases, place)?;
        let default = self.boxed(default, place, Type::Any)?;
        Ok((Node::Switch { on, cases, default }, Type::Any))
    }

    fn set(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let [within, path, to] = named_parts(argument, place, ["in", "path", "to"])?;
        let within = self.boxed(within, place, Type::Any)?;
        let to = self.boxed(to, place, Type::Any)?;
        let path = whole_path(path, place)?;
        Ok((Node::Set { within, path, to }, Type::Object))
    }

    fn remove(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let [within, path] = named_parts(argument, place, ["in", "path"])?;
        let within = self.boxed(within, place, Type::Any)?;
        let path = whole_path(path, place)?;
        Ok((Node::Remove { within, path }, Type::Object))
    }

    fn append(&mut self, argument: &Value, place: &str) -> Result<Typed, CompileError> {
        let [to, value, most] = named_parts(argument, place, ["to", "value", "cap"])?;
        let to = self.boxed(to, place, Type::Any)?;
        let value = self.boxed(value, place, Type::Any)?;
        let cap = cap(most, place)?;
        Ok((Node::Append { to, value, cap }, Type::List))
    }

    fn fixed<const N: usize>(
        &mut self,
        argument: &Value,
        place: &str,
        wanted: [Type; N],
    ) -> Result<[Node; N], CompileError> {
        let parts: [&Value; N] = fixed(argument, place)?;
        let nodes = parts
            .iter()
            .zip(wanted)
            .map(|(part, wanted)| self.expect(part, place, wanted));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        Ok(nodes.try_into().expect("as many nodes as parts"))
    }
}

fn whole_path(argument: &Value, place: &str) -> Result<Vec<String>, CompileError> {
    longer_path(argument, place)?;
    path(argument, place)
}

fn arithmetic(name: &str) -> Option<Arithmetic> {
    Some(match name {
        "add" => Arithmetic::Add,
        "sub" => Arithmetic::Sub,
        "mul" => Arithmetic::Mul,
        "div" => Arithmetic::Div,
        "min" => Arithmetic::Min,
        "max" => Arithmetic::Max,
        _ => return None,
    })
}

/// How few arguments it makes sense with.
fn least(arithmetic: Arithmetic) -> usize {
    match arithmetic {
        Arithmetic::Sub | Arithmetic::Div => 2,
        _ => 1,
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "eq" => Comparison::Eq,
        "ne" => Comparison::Ne,
        "lt" => Comparison::Lt,
        "lte" => Comparison::Lte,
        "gt" => Comparison::Gt,
        "gte" => Comparison::Gte,
        _ => return None,
    })
}

fn text_operation(name: &str) -> Option<TextOperation> {
    Some(match name {
        "lower" => TextOperation::Lower,
        "upper" => TextOperation::Upper,
        "trim" => TextOperation::Trim,
        _ => return None,
    })
}
