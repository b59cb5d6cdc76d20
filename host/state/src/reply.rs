//! What Redis answers to an arbitrary command.

use bytes::Bytes;

/// What Redis answers to an arbitrary command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A whole number, or a truth as 0 or 1.
    Int(i64),
    /// A number.
    Double(f64),
    /// Bytes or text.
    Bytes(Bytes),
    /// A list; a map is a list of its keys and values in turn.
    List(Vec<Reply>),
}

impl Reply {
    /// Bytes or text as text; `None` for anything else.
    pub fn text(&self) -> Option<String> {
        match self {
            Reply::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// A list's members; none for anything else.
    pub fn list(self) -> Vec<Reply> {
        match self {
            Reply::List(list) => list,
            _ => Vec::new(),
        }
    }

    /// A number, also one that is written as text.
    pub fn number(&self) -> Option<f64> {
        match self {
            Reply::Int(n) => Some(*n as f64),
            Reply::Double(n) => Some(*n),
            Reply::Bytes(_) => self.text()?.parse().ok(),
            Reply::Nil | Reply::List(_) => None,
        }
    }
}

impl From<redis::Value> for Reply {
    fn from(value: redis::Value) -> Reply {
        use redis::Value;
        let pairs = |pairs: Vec<(Value, Value)>| {
            let each = pairs.into_iter().flat_map(|(key, value)| [key, value]);
            Reply::List(each.map(Reply::from).collect())
        };
        let list = |list: Vec<Value>| Reply::List(list.into_iter().map(Reply::from).collect());
        match value {
            Value::Int(n) => Reply::Int(n),
            Value::Boolean(b) => Reply::Int(i64::from(b)),
            Value::Double(n) => Reply::Double(n),
            Value::BulkString(bytes) | Value::BigNumber(bytes) => Reply::Bytes(bytes.into()),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => {
                Reply::Bytes(text.into())
            }
            Value::Okay => Reply::Bytes(Bytes::from_static(b"OK")),
            Value::Array(items) | Value::Set(items) => list(items),
            Value::Push { data, .. } => list(data),
            Value::Map(items) => pairs(items),
            Value::Attribute { data, .. } => Reply::from(*data),
            // Errors of whole commands come as errors; one within a list stands for nothing.
            _ => Reply::Nil,
        }
    }
}
