//! The messages of an ONNX file, with the fields that are read; numbers as in `onnx.proto`.

use crate::error::Result;
use crate::ml::import::bad;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

/// Largest file.
const MAX_BYTES: usize = 1 << 28;
/// Most messages and strings in a file: each takes some hundred bytes once it is read, and two in the file.
const MAX_PARTS: usize = 1 << 17;

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelProto {
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(super) opset_import: Vec<OperatorSet>,
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<ValueInfo>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

/// `AttributeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(float, tag = "2")]
    pub(super) f: f32,
    #[prost(int64, tag = "3")]
    pub(super) i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) s: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub(super) t: Option<Tensor>,
    #[prost(float, repeated, tag = "7")]
    pub(super) floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub(super) ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub(super) strings: Vec<Vec<u8>>,
}

/// `TensorProto`. Packed numbers are kept as the bytes that they are, and read when their count is known.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) float_data: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) int32_data: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) int64_data: Vec<u8>,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) raw_data: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) double_data: Vec<u8>,
    #[prost(int32, tag = "14")]
    pub(super) data_location: i32,
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) kind: Option<Type>,
}

/// `TypeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Type {
    #[prost(message, optional, tag = "1")]
    pub(super) tensor: Option<TensorType>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorType {
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<TensorShape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    pub(super) dim: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`; neither a number nor a name where it is not known.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub(super) value: Option<i64>,
}

/// Reads a file.
pub(super) fn decode(bytes: &[u8]) -> Result<ModelProto> {
    if bytes.len() > MAX_BYTES {
        return Err(bad("file", format!("more than {MAX_BYTES} bytes")));
    }
    let mut left = MAX_PARTS;
    Part::Model.count(bytes, &mut left)?;
    ModelProto::decode(bytes).map_err(|error| bad("file", error.to_string()))
}

/// What a length-delimited field holds, as far as its parts are counted.
#[derive(Clone, Copy)]
enum Part {
    Model,
    Graph,
    Node,
    Attribute,
    Value,
    Type,
    TensorType,
    Shape,
    /// Holds nothing that is counted.
    Leaf,
}

impl Part {
    fn inside(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) => Self::Graph,
            (Self::Graph, 1) => Self::Node,
            (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 11 | 12) => Self::Value,
            (Self::Value, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Model, 8) | (Self::Graph, 5) | (Self::Node, 1 | 2) => Self::Leaf,
            (Self::Attribute, 5 | 9) | (Self::Shape, 1) => Self::Leaf,
            _ => return None,
        })
    }

    /// Takes the parts of a message from those that are left, before memory is taken for them.
    fn count(self, mut bytes: &[u8], left: &mut usize) -> Result<()> {
        let unreadable = |error: prost::DecodeError| bad("file", error.to_string());
        let cut = || bad("file", "ends within a field");
        while !bytes.is_empty() {
            let (field, kind) = decode_key(&mut bytes).map_err(unreadable)?;
            let length = match kind {
                WireType::Varint => {
                    decode_varint(&mut bytes).map_err(unreadable)?;
                    0
                }
                WireType::SixtyFourBit => 8,
                WireType::ThirtyTwoBit => 4,
                WireType::LengthDelimited => {
                    usize::try_from(decode_varint(&mut bytes).map_err(unreadable)?).map_err(|_| cut())?
                }
                WireType::StartGroup | WireType::EndGroup => return Err(bad("file", "has groups")),
            };
            let (content, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
            if let Some(part) = self.inside(field) {
                *left = left.checked_sub(1).ok_or_else(|| bad("file", format!("more than {MAX_PARTS} parts")))?;
                part.count_inside(content, left)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    fn count_inside(self, content: &[u8], left: &mut usize) -> Result<()> {
        if matches!(self, Self::Leaf) { Ok(()) } else { self.count(content, left) }
    }
}

/// `int64` numbers as protobuf packs them.
pub(super) fn varints(mut bytes: &[u8]) -> Result<Vec<i64>> {
    let mut numbers = Vec::new();
    while !bytes.is_empty() {
        let number = decode_varint(&mut bytes).map_err(|error| bad("file", error.to_string()))?;
        numbers.push(number.cast_signed());
    }
    Ok(numbers)
}
