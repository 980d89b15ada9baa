//! Numbers: whole ones of 64 bits, and decimals as texts. An overflow is a verdict, never another number.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Evaluated, Failure, Run, contract, given::Given, truth};
use crate::program::dag::{
    decimal::Decimal,
    node::{Arithmetic, Comparison, Node},
};

impl<'a> Run<'a> {
    pub(super) fn whole(&mut self, node: &'a Node, place: &str) -> Result<i64, Failure> {
        let value = self.eval(node)?;
        value
            .as_i64()
            .ok_or_else(|| contract(place, "not a whole number of 64 bits"))
    }

    pub(super) fn arithmetic(&mut self, operation: Arithmetic, nodes: &'a [Node]) -> Evaluated<'a> {
        let (first, rest) = nodes
            .split_first()
            .expect("the compiler wants at least one");
        let mut result = self.whole(first, "arithmetic")?;
        for node in rest {
            let next = self.whole(node, "arithmetic")?;
            let combined = match operation {
                Arithmetic::Add => result.checked_add(next),
                Arithmetic::Sub => result.checked_sub(next),
                Arithmetic::Mul => result.checked_mul(next),
                Arithmetic::Div => result.checked_div(next),
                Arithmetic::Min => Some(result.min(next)),
                Arithmetic::Max => Some(result.max(next)),
            };
            let wrong = || contract("arithmetic", "an overflow, or a division by 0");
            result = combined.ok_or_else(wrong)?;
        }
        Ok(Given::Made(result.into()))
    }

    pub(super) fn decimals(&mut self, operation: Arithmetic, nodes: &'a [Node]) -> Evaluated<'a> {
        let (first, rest) = nodes
            .split_first()
            .expect("the compiler wants at least one");
        let mut result = self.decimal(first)?;
        for node in rest {
            let next = self.decimal(node)?;
            let order = || result.order(next);
            let combined = match operation {
                Arithmetic::Add => result.plus(next),
                Arithmetic::Sub => result.minus(next),
                Arithmetic::Mul => result.times(next),
                Arithmetic::Min => order().map(|order| if order.is_gt() { next } else { result }),
                Arithmetic::Max => order().map(|order| if order.is_lt() { next } else { result }),
                Arithmetic::Div => unreachable!("a quotient has a scale, and a node of its own"),
            };
            result = combined.ok_or_else(too_long)?;
        }
        self.made_decimal(result)
    }

    pub(super) fn decimal_quotient(
        &mut self,
        of: &'a Node,
        by: Option<&'a Node>,
        scale: u32,
    ) -> Evaluated<'a> {
        let of = self.decimal(of)?;
        let quotient = match by {
            Some(by) => of.divided_by(self.decimal(by)?, scale),
            None => of.rounded(scale),
        };
        self.made_decimal(quotient.ok_or_else(too_long)?)
    }

    pub(super) fn decimal_order(&mut self, pair: &'a [Node; 2]) -> Evaluated<'a> {
        let (one, other) = (self.decimal(&pair[0])?, self.decimal(&pair[1])?);
        let order = one.order(other).ok_or_else(too_long)?;
        Ok(Given::Made((order as i8).into()))
    }

    /// A decimal as a text; whole numbers are decimals too.
    fn decimal(&mut self, node: &'a Node) -> Result<Decimal, Failure> {
        let value = self.eval(node)?;
        let decimal = match value.as_str() {
            Some(text) => text.parse().ok(),
            None => value.as_i64().map(Decimal::from),
        };
        decimal.ok_or_else(|| contract("decimal", "not a decimal such as -12.50"))
    }

    fn made_decimal(&mut self, decimal: Decimal) -> Evaluated<'a> {
        self.made(Value::String(decimal.to_string()))
    }

    pub(super) fn compare(&mut self, comparison: Comparison, pair: &'a [Node; 2]) -> Evaluated<'a> {
        let one = self.eval(&pair[0])?;
        let other = self.eval(&pair[1])?;
        self.charge_bytes(one.weight().min(other.weight()))?;
        if let Comparison::Eq | Comparison::Ne = comparison {
            return Ok(truth(
                (one == other) == matches!(comparison, Comparison::Eq),
            ));
        }
        let order = match (one.as_str(), other.as_str()) {
            (Some(one), Some(other)) => Some(one.cmp(other)),
            _ => one.as_i64().and_then(|one| Some(one.cmp(&other.as_i64()?))),
        };
        let neither = || contract("comparison", "neither two texts nor two whole numbers");
        let order = order.ok_or_else(neither)?;
        Ok(truth(match comparison {
            Comparison::Lt => order == Ordering::Less,
            Comparison::Lte => order != Ordering::Greater,
            Comparison::Gt => order == Ordering::Greater,
            Comparison::Gte | Comparison::Eq | Comparison::Ne => order != Ordering::Less,
        }))
    }
}

fn too_long() -> Failure {
    contract(
        "decimal",
        "more digits than there is room for, or a division by 0",
    )
}
