//! Types of expressions: numbers as integers or floats, what two have in common, casts.

use sqlparser::{
    ast::{DataType, Expr},
    tokenizer::Span,
};

use super::{Binder, Bound, Context, Result, syntax::place};
use crate::{
    Type, Value,
    graph::NodeId,
    op::{Compared, Comparison, Float1, Float2, Int1, Int2, Op},
};

impl Binder<'_> {
    /// Integer arithmetic where both are integers (and there is such), else float.
    pub(super) fn number2(
        &mut self,
        left: Bound,
        right: Bound,
        float: Float2,
        int: Option<Int2>,
        span: Span,
        context: &Context<'_>,
    ) -> Result<NodeId> {
        if let Some(int) = int
            && self.is_int(left)
            && self.is_int(right)
        {
            let left = self.coerce(left, Type::Int, span, context)?;
            let right = self.coerce(right, Type::Int, span, context)?;
            return Ok(self.graph.operator(Op::Int2(int), vec![left, right]));
        }
        let (left, right) = (self.float(left, span, context)?, self.float(right, span, context)?);
        Ok(self.graph.operator(Op::Float2(float), vec![left, right]))
    }

    pub(super) fn number1(
        &mut self,
        operand: Bound,
        float: Float1,
        int: Int1,
        span: Span,
        context: &Context<'_>,
    ) -> Result<NodeId> {
        if let Bound::Node(node) = operand
            && self.graph.type_of(node) == Type::Int
        {
            return Ok(self.graph.operator(Op::Int1(int), vec![node]));
        }
        let operand = self.float(operand, span, context)?;
        Ok(self.graph.operator(Op::Float1(float), vec![operand]))
    }

    pub(super) fn is_int(&self, bound: Bound) -> bool {
        matches!(bound, Bound::Node(node) if self.graph.type_of(node) == Type::Int)
    }

    pub(super) fn float1(&mut self, function: Float1, operand: &Expr, context: &Context<'_>) -> Result<NodeId> {
        let bound = self.bind(operand, context)?;
        let operand = self.float(bound, place(operand), context)?;
        Ok(self.graph.operator(Op::Float1(function), vec![operand]))
    }

    /// As a float: integers and booleans are converted (the model's columns are all numbers).
    pub(super) fn float(&mut self, bound: Bound, span: Span, context: &Context<'_>) -> Result<NodeId> {
        match bound {
            Bound::Node(node) if matches!(self.graph.type_of(node), Type::Int | Type::Bool) => {
                let from = self.graph.type_of(node);
                Ok(self.graph.operator(Op::Cast(from, Type::Float), vec![node]))
            }
            _ => self.coerce(bound, Type::Float, span, context),
        }
    }

    /// As type `to`: a NULL takes it, an integer becomes a float, anything else must have it already.
    pub(super) fn coerce(&mut self, bound: Bound, to: Type, span: Span, context: &Context<'_>) -> Result<NodeId> {
        let node = match bound {
            Bound::Null => return Ok(self.graph.constant(Value::Null(to))),
            Bound::Node(node) => node,
        };
        match (self.graph.type_of(node), to) {
            (from, to) if from == to => Ok(node),
            (Type::Int, Type::Float) => Ok(self.graph.operator(Op::Cast(Type::Int, Type::Float), vec![node])),
            (from, to) => {
                let message = format!("{} is needed here, this is {}", to.named(), from.named());
                Err(self.error(context, span, "type_mismatch", message))
            }
        }
    }

    /// The type that both can have.
    pub(super) fn common(&mut self, left: Bound, right: Bound, span: Span, context: &Context<'_>) -> Result<Type> {
        let of = |bound: Bound| match bound {
            Bound::Node(node) => Some(self.graph.type_of(node)),
            Bound::Null => None,
        };
        match (of(left), of(right)) {
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (Some(left), Some(right)) if left == right => Ok(left),
            (Some(Type::Int), Some(Type::Float)) | (Some(Type::Float), Some(Type::Int)) | (None, None) => {
                Ok(Type::Float)
            }
            (Some(left), Some(right)) => {
                let message = format!("{} and {} have no common type", left.named(), right.named());
                let expected = "use CAST to make them one".to_owned();
                Err(self.error_expecting(context, span, "type_mismatch", message, Some(expected)))
            }
        }
    }

    pub(super) fn compare(
        &mut self,
        comparison: Comparison,
        left: Bound,
        right: Bound,
        span: Span,
        context: &Context<'_>,
    ) -> Result<NodeId> {
        let common = self.common(left, right, span, context)?;
        let left = self.coerce(left, common, span, context)?;
        let right = self.coerce(right, common, span, context)?;
        let compared = match common {
            Type::Float => Compared::Float,
            Type::Int | Type::Timestamp => Compared::Int,
            Type::Bool => Compared::Bool,
            Type::String => Compared::Text,
        };
        Ok(self.graph.operator(Op::Compare(comparison, compared), vec![left, right]))
    }

    pub(super) fn case(
        &mut self,
        branches: Vec<(NodeId, Bound)>,
        otherwise: Bound,
        span: Span,
        context: &Context<'_>,
    ) -> Result<Bound> {
        let mut common_bound = otherwise;
        for &(_, result) in &branches {
            let common = self.common(common_bound, result, span, context)?;
            if !matches!((common_bound, result), (Bound::Null, Bound::Null)) {
                common_bound = Bound::Node(self.graph.constant(Value::Null(common)));
            }
        }
        let Bound::Node(of) = common_bound else { return Ok(Bound::Null) };
        let of = self.graph.type_of(of);
        let mut chosen = self.coerce(otherwise, of, span, context)?;
        for (condition, result) in branches.into_iter().rev() {
            let result = self.coerce(result, of, span, context)?;
            chosen = self.graph.operator(Op::Select(of), vec![condition, result, chosen]);
        }
        Ok(Bound::Node(chosen))
    }

    pub(super) fn data_type(&self, data_type: &DataType, span: Span, context: &Context<'_>) -> Result<Type> {
        Ok(match data_type {
            DataType::Float64
            | DataType::Double(_)
            | DataType::DoublePrecision
            | DataType::Real
            | DataType::Float(_) => Type::Float,
            DataType::Int64 | DataType::Int(_) | DataType::Integer(_) | DataType::BigInt(_) => Type::Int,
            DataType::Bool | DataType::Boolean => Type::Bool,
            DataType::String(_) | DataType::Text | DataType::Varchar(_) => Type::String,
            other => {
                let expected = "FLOAT64, INT64, BOOL and STRING can be cast to".to_owned();
                let message = format!("cannot cast to {other}");
                return Err(self.error_expecting(context, span, "unsupported", message, Some(expected)));
            }
        })
    }

    pub(super) fn cast(&mut self, node: NodeId, to: Type, span: Span, context: &Context<'_>) -> Result<NodeId> {
        let from = self.graph.type_of(node);
        if from == to {
            return Ok(node);
        }
        if from == Type::Timestamp {
            let expected = "use EXTRACT or UNIX_SECONDS".to_owned();
            let message = format!("a timestamp cannot be cast to {to}");
            return Err(self.error_expecting(context, span, "type_mismatch", message, Some(expected)));
        }
        Ok(self.graph.operator(Op::Cast(from, to), vec![node]))
    }
}
