//! Nodes: a program as it is run. How they come to be is in `compile`, what they do in `eval`.

use serde_json::Value;

/// A step.
#[derive(Debug)]
pub(super) enum Node {
    Const(Value),
    /// A field of the event.
    Event(EventField, Vec<String>),
    /// A part of the view; all of it where the path is empty.
    View(Vec<String>),
    Meta(MetaField),
    /// The step with a name.
    Ref(usize),
    /// The first of them that is not null.
    Coalesce(Vec<Node>),
    Arithmetic(Arithmetic, Vec<Node>),
    Decimal(Arithmetic, Vec<Node>),
    /// The quotient of two decimals with so many digits behind its point; without a divisor, the one in that form.
    DecimalQuotient {
        of: Box<Node>,
        by: Option<Box<Node>>,
        scale: u32,
    },
    /// -1, 0 or 1: how two decimals compare.
    DecimalOrder(Box<[Node; 2]>),
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
    /// A part of what a loop around this step looks at: how many loops further out it is, and where in it.
    Local(usize, Vec<String>),
    /// What a step gives for each element.
    Map {
        over: Box<Node>,
        give: Box<Node>,
    },
    /// The elements for which a condition holds.
    Filter {
        over: Box<Node>,
        keep: Box<Node>,
    },
    /// What a step makes of what it made of the elements before, and the next one.
    Fold {
        over: Box<Node>,
        from: Box<Node>,
        give: Box<Node>,
    },
}

/// A change of views that are named by the event: the new view, null where there is none any more.
#[derive(Debug)]
pub(super) struct Emit {
    /// Whether the event is for it.
    pub(super) when: Option<Node>,
    /// A text, or a list of texts.
    pub(super) view_id: Node,
    pub(super) new_view: Node,
}

/// A step with a name.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) node: Node,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum MetaField {
    StreamSeq,
    Tenant,
    ViewType,
    /// The view that is folded now.
    ViewId,
}

/// The first name of the path of a field.
#[derive(Debug)]
pub(super) enum EventField {
    Payload,
    TenantId,
    AggregateId,
    AggregateType,
    EventType,
    Timestamp,
    EventId,
    CorrelationId,
    Traceparent,
    AggregateSeq,
    SchemaVersion,
    /// One that only the publisher knows.
    Extra(String),
}

impl EventField {
    pub(super) fn of(name: String) -> Self {
        match name.as_str() {
            "payload" => Self::Payload,
            "tenant_id" => Self::TenantId,
            "aggregate_id" => Self::AggregateId,
            "aggregate_type" => Self::AggregateType,
            "event_type" => Self::EventType,
            "timestamp" => Self::Timestamp,
            "event_id" => Self::EventId,
            "correlation_id" => Self::CorrelationId,
            "traceparent" => Self::Traceparent,
            "aggregate_seq" => Self::AggregateSeq,
            "schema_version" => Self::SchemaVersion,
            _ => Self::Extra(name),
        }
    }
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
