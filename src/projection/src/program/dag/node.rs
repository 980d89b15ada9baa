//! Nodes: a program as it is run. How they come to be is in `compile`, what they do in `eval`.

use serde_json::Value;

/// A step.
#[derive(Debug)]
pub(super) enum Node {
    Const(Value),
    /// A field of the event.
    Event(Vec<String>),
    /// A part of the view; all of it where the path is empty.
    View(Vec<String>),
    Meta(MetaField),
    /// The step with a name.
    Ref(usize),
    /// The first of them that is not null.
    Coalesce(Vec<Node>),
    Arithmetic(Arithmetic, Vec<Node>),
    Compare(Comparison, Box<[Node; 2]>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    If(Box<[Node; 3]>),
    Switch {
        on: Box<Node>,
        cases: Vec<(String, Node)>,
        default: Box<Node>,
    },
    Concat(Vec<Node>),
    Text(TextOperation, Box<Node>),
    /// The characters from one position up to another.
    Slice(Box<[Node; 3]>),
    Len(Box<Node>),
    /// SHA-256 of a text, in hexadecimal.
    Hash(Box<Node>),
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
    /// The members of all, later ones over earlier ones.
    Merge(Vec<Node>),
    Set {
        within: Box<Node>,
        path: Vec<String>,
        to: Box<Node>,
    },
    Remove {
        within: Box<Node>,
        path: Vec<String>,
    },
    /// A list with one more at its end, without its first ones where it would be longer than `cap`.
    Append {
        to: Box<Node>,
        value: Box<Node>,
        cap: usize,
    },
}

/// A step with a name, and the name for messages.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) node: Node,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum MetaField {
    StreamSeq,
    Tenant,
    ViewType,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum TextOperation {
    Lower,
    Upper,
    Trim,
}

/// What a step gives, as far as it is known before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Any,
    Null,
    Bool,
    Int,
    Text,
    List,
    Object,
}

impl Type {
    /// Whether a step that gives `self` may stand where `wanted` is wanted. What is not known may.
    pub(super) fn fits(self, wanted: Type) -> bool {
        self == wanted || self == Type::Any || wanted == Type::Any
    }

    /// What is known where either of two may come out.
    pub(super) fn or(self, other: Type) -> Type {
        if self == other { self } else { Type::Any }
    }

    pub(super) fn of(value: &Value) -> Type {
        match value {
            Value::Null => Type::Null,
            Value::Bool(_) => Type::Bool,
            Value::Number(_) => Type::Int,
            Value::String(_) => Type::Text,
            Value::Array(_) => Type::List,
            Value::Object(_) => Type::Object,
        }
    }
}
