//! The typed expression graph: each different sub-expression once, constants folded.

use std::collections::HashMap;

use crate::{
    Type, Value,
    column::Column,
    geo, kernels,
    op::{Op, ZoneIndex},
    tables::Tables,
};

/// Index of a node. Operands come before the nodes that use them.
pub(crate) type NodeId = usize;

/// One sub-expression.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) of: Type,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    /// The input of this index in the spec.
    Input(usize),
    Constant(Value),
    Operator(Op, Vec<NodeId>),
}

/// What makes two nodes the same.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    Input(usize),
    Null(Type),
    /// By bits: 0.0 and -0.0 are different constants.
    Float(u64),
    Int(i64, Type),
    Bool(bool),
    Text(String),
    Operator(Op, Vec<NodeId>),
}

#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    known: HashMap<Identity, NodeId>,
    pub(crate) tables: Tables,
}

impl Graph {
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn type_of(&self, node: NodeId) -> Type {
        self.nodes[node].of
    }

    pub(crate) fn constant_of(&self, node: NodeId) -> Option<&Value> {
        if let NodeKind::Constant(value) = &self.nodes[node].kind { Some(value) } else { None }
    }

    pub(crate) fn input(&mut self, index: usize, of: Type) -> NodeId {
        self.add(Identity::Input(index), Node { kind: NodeKind::Input(index), of })
    }

    pub(crate) fn constant(&mut self, value: Value) -> NodeId {
        let identity = match &value {
            Value::Null(of) => Identity::Null(*of),
            Value::Float(value) => Identity::Float(value.to_bits()),
            Value::Int(value) => Identity::Int(*value, Type::Int),
            Value::Timestamp(value) => Identity::Int(*value, Type::Timestamp),
            Value::Bool(value) => Identity::Bool(*value),
            Value::String(value) => Identity::Text(value.clone()),
        };
        let of = value.type_of();
        self.add(identity, Node { kind: NodeKind::Constant(value), of })
    }

    pub(crate) fn operator(&mut self, op: Op, operands: Vec<NodeId>) -> NodeId {
        match (op, operands.as_slice()) {
            // Of parts, so that functions of the same points or the same instant share what they have in common.
            (Op::Geo(function), &[lat1, lon1, lat2, lon2]) => {
                return geo::expand(self, function, [lat1, lon1, lat2, lon2]);
            }
            (Op::LocalTime(field, zone), &[instant]) => {
                let second = self.operator(Op::LocalSecond(zone), vec![instant]);
                return self.operator(Op::FieldOfSecond(field), vec![second]);
            }
            _ => {}
        }
        if let Some(value) = self.fold(op, &operands) {
            return self.constant(value);
        }
        let node = Node { kind: NodeKind::Operator(op, operands.clone()), of: op.result() };
        self.add(Identity::Operator(op, operands), node)
    }

    /// Which of `results` are computed from an input that `is_one` holds for.
    pub(crate) fn need(&self, results: &[NodeId], is_one: impl Fn(usize) -> bool) -> Vec<bool> {
        // Operands come before the nodes that use them.
        let mut need = vec![false; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            need[id] = match &node.kind {
                NodeKind::Input(input) => is_one(*input),
                NodeKind::Constant(_) => false,
                NodeKind::Operator(_, operands) => operands.iter().any(|&operand| need[operand]),
            };
        }
        results.iter().map(|&result| need[result]).collect()
    }

    /// The time zone's index, or `None` where there is no such zone.
    pub(crate) fn zone(&mut self, name: &str) -> Option<ZoneIndex> {
        self.tables.time_zone(name)
    }

    /// The value of an operator over constants, by the very kernels that rows go through.
    fn fold(&self, op: Op, operands: &[NodeId]) -> Option<Value> {
        let mut columns = Vec::with_capacity(operands.len());
        for &operand in operands {
            let mut column = Column::new(self.type_of(operand));
            column.push(self.constant_of(operand)?);
            columns.push(column);
        }
        let views: Vec<_> = columns.iter().map(|column| column.view(0, 1)).collect();
        let mut result = Column::new(op.result());
        kernels::compute(op, &views, 1, &self.tables, &mut result);
        Some(result.value(0, op.result()))
    }

    fn add(&mut self, identity: Identity, node: Node) -> NodeId {
        *self.known.entry(identity).or_insert_with(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }
}
