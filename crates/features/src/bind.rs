//! SQL expressions into the typed graph.

mod call;
mod compose;
mod library;
mod order;
mod syntax;
mod typing;

use std::{collections::HashMap, ops::Range};

use sqlparser::{
    ast::{
        BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, InTarget, TypedString, UnaryOperator,
        Value as SqlValue,
    },
    tokenizer::Span,
};

use self::syntax::place;
pub(crate) use self::{
    order::{dependency_order, mentions},
    syntax::canonical,
};
use crate::{
    FeatureError, Resources, Type, Value,
    error::did_you_mean,
    graph::{Graph, NodeId},
    op::{Comparison, Float1, Float2, Int1, Int2, Op},
    spec::{Scope, Source, Spec},
};

/// Binds the expressions of one spec.
pub(crate) struct Binder<'a> {
    source: &'a Source<'a>,
    spec: &'a Spec,
    resources: &'a Resources,
    rows: Rows,
    pub(crate) graph: Graph,
    features: HashMap<&'a str, FeatureState>,
    /// How many expressions are being bound, one inside the other.
    depth: usize,
}

/// What rows a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Requests.
    Serving,
    /// Rows to learn from: lookup tables give what they have out of fold.
    Training,
}

/// A feature is bound inside an expression at most this deep. [`dependency_order`] binds features after those that they
/// name, so that only in a circle of names one is bound inside another; and the stack ends somewhere.
const MAX_FEATURE_DEPTH: usize = 16;

#[derive(Clone, Copy)]
enum FeatureState {
    Binding,
    Bound(NodeId),
}

/// One expression while it is bound.
struct Context<'a> {
    /// The expression's string in the file.
    span: Range<usize>,
    /// What it is, for messages: "feature `x`".
    what: &'a str,
    /// Whether training inputs may be used.
    training: bool,
}

/// What an expression is: a node, or a NULL that takes the type of its surroundings.
#[derive(Clone, Copy)]
enum Bound {
    Node(NodeId),
    Null,
}

type Result<T> = std::result::Result<T, FeatureError>;

impl<'a> Binder<'a> {
    pub(crate) fn new(source: &'a Source<'a>, spec: &'a Spec, resources: &'a Resources, rows: Rows) -> Self {
        Self { source, spec, resources, rows, graph: Graph::default(), features: HashMap::new(), depth: 0 }
    }

    /// A feature or an input, by its name.
    pub(crate) fn output(&mut self, name: &str, span: &Range<usize>) -> Result<NodeId> {
        let context = Context { span: span.clone(), what: "an output", training: false };
        match self.name(name, &context)? {
            Some(node) => Ok(node),
            None => {
                let message = format!("output `{name}` is neither a feature nor an input");
                let expected = self.known_names(name);
                Err(self.source.error(span.start, "unknown_name", message, Some(expected)))
            }
        }
    }

    /// An expression, as a float.
    pub(crate) fn float_expression(
        &mut self,
        text: &str,
        span: &Range<usize>,
        what: &str,
        training: bool,
    ) -> Result<NodeId> {
        let context = Context { span: span.clone(), what, training };
        let expression = self.parse(text, &context)?;
        let bound = self.bind(&expression, &context)?;
        self.float(bound, place(&expression), &context)
    }

    /// An expression that does not stand in the spec, as type `to`. It may use inputs of scope training. Errors name `what` as
    /// the file.
    pub(crate) fn foreign_expression(&mut self, text: &str, what: &str, to: Type) -> Result<NodeId> {
        let context = Context { span: 0..0, what, training: true };
        let bound = self.parse(text, &context).and_then(|expression| {
            let bound = self.bind(&expression, &context)?;
            match to {
                Type::Float => self.float(bound, place(&expression), &context),
                to => self.coerce(bound, to, place(&expression), &context),
            }
        });
        bound.map_err(|error| error.relative_to(&self.source.inside(&context.span, 1, 1), what))
    }

    fn known_names(&self, name: &str) -> String {
        let inputs = self.spec.inputs.iter().map(|input| input.name.as_str());
        did_you_mean(name, inputs.chain(self.spec.features.keys().map(String::as_str)), "names")
    }

    fn error(&self, context: &Context<'_>, span: Span, reason: &'static str, message: String) -> FeatureError {
        self.error_expecting(context, span, reason, message, None)
    }

    fn error_expecting(
        &self,
        context: &Context<'_>,
        span: Span,
        reason: &'static str,
        message: impl AsRef<str>,
        expected: Option<String>,
    ) -> FeatureError {
        let message = message.as_ref();
        let location = self.source.inside(&context.span, span.start.line, span.start.column);
        FeatureError::Spec { location, reason, message: format!("{}: {message}", context.what), expected }
    }

    fn name(&mut self, name: &str, context: &Context<'_>) -> Result<Option<NodeId>> {
        if let Some(index) = self.spec.inputs.iter().position(|input| input.name == name) {
            let input = &self.spec.inputs[index];
            if input.scope == Scope::Training && !context.training {
                let message = format!("{}: `{name}` is known only in training, so using it would leak", context.what);
                let expected = "only the label can use inputs of scope \"training\"".to_owned();
                return Err(self.source.error(context.span.start, "training_input", message, Some(expected)));
            }
            return Ok(Some(self.graph.input(index, input.of)));
        }
        let Some((name, expression)) = self.spec.features.get_key_value(name) else { return Ok(None) };
        match self.features.get(name.as_str()) {
            Some(FeatureState::Bound(node)) => return Ok(Some(*node)),
            Some(FeatureState::Binding) => {
                let message = format!("feature `{name}` is defined by itself");
                return Err(self.source.error(expression.span().start, "cycle", message, None));
            }
            None => {}
        }
        if self.depth > MAX_FEATURE_DEPTH {
            let message = format!("feature `{name}` and others are defined by each other");
            return Err(self.source.error(expression.span().start, "cycle", message, None));
        }
        self.features.insert(name, FeatureState::Binding);
        let what = format!("feature `{name}`");
        let context = Context { span: expression.span(), what: &what, training: false };
        let parsed = self.parse(expression.get_ref(), &context)?;
        let node = match self.bind(&parsed, &context)? {
            Bound::Node(node) => node,
            Bound::Null => self.graph.constant(Value::Null(Type::Float)),
        };
        self.features.insert(name, FeatureState::Bound(node));
        Ok(Some(node))
    }

    fn bind(&mut self, expression: &Expr, context: &Context<'_>) -> Result<Bound> {
        self.depth += 1;
        let bound = self.bind_expression(expression, context);
        self.depth -= 1;
        bound
    }

    fn bind_expression(&mut self, expression: &Expr, context: &Context<'_>) -> Result<Bound> {
        let span = place(expression);
        Ok(Bound::Node(match expression {
            Expr::Nested(inner) => return self.bind(inner, context),
            Expr::Identifier(name) => match self.name(&name.value, context)? {
                Some(node) => node,
                None => {
                    let expected = self.known_names(&name.value);
                    let message = format!("unknown name `{}`", name.value);
                    return Err(self.error_expecting(context, span, "unknown_name", message, Some(expected)));
                }
            },
            Expr::Value(value) => return self.literal(&value.value, span, context),
            Expr::TypedString(literal) => self.timestamp_literal(literal, span, context)?,
            Expr::BinaryOp { .. } => self.binary_chain(expression, context)?,
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } if is_least_integer(expr) => {
                self.graph.constant(Value::Int(i64::MIN))
            }
            Expr::UnaryOp { op, expr } => {
                let operand = self.bind(expr, context)?;
                match op {
                    UnaryOperator::Plus => return Ok(operand),
                    UnaryOperator::Minus => self.number1(operand, Float1::Negate, Int1::Negate, span, context)?,
                    UnaryOperator::Not => {
                        let operand = self.coerce(operand, Type::Bool, place(expr), context)?;
                        self.graph.operator(Op::Not, vec![operand])
                    }
                    _ => return Err(self.unsupported(&format!("operator `{op}`"), span, context)),
                }
            }
            Expr::IsNull(inner) | Expr::IsUnknown(inner) => self.is_null(inner, context)?,
            Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => {
                let is_null = self.is_null(inner, context)?;
                self.graph.operator(Op::Not, vec![is_null])
            }
            Expr::IsTrue(inner) => self.is_bool(inner, true, false, context)?,
            Expr::IsNotTrue(inner) => self.is_bool(inner, true, true, context)?,
            Expr::IsFalse(inner) => self.is_bool(inner, false, false, context)?,
            Expr::IsNotFalse(inner) => self.is_bool(inner, false, true, context)?,
            Expr::Between { expr, negated, low, high } => {
                let (value, low_bound, high_bound) =
                    (self.bind(expr, context)?, self.bind(low, context)?, self.bind(high, context)?);
                let above = self.compare(Comparison::LessOrEqual, low_bound, value, span, context)?;
                let below = self.compare(Comparison::LessOrEqual, value, high_bound, span, context)?;
                let between = self.graph.operator(Op::And, vec![above, below]);
                self.negate_if(*negated, between)
            }
            Expr::In { expr, target: InTarget::List(list), negated, .. } => {
                let value = self.bind(expr, context)?;
                let mut any = None;
                for item in list {
                    let item = self.bind(item, context)?;
                    let equal = self.compare(Comparison::Equal, value, item, span, context)?;
                    any = Some(any.map_or(equal, |any| self.graph.operator(Op::Or, vec![any, equal])));
                }
                let any = any.unwrap_or_else(|| self.graph.constant(Value::Bool(false)));
                self.negate_if(*negated, any)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                let operand = operand.as_ref().map(|operand| self.bind(operand, context)).transpose()?;
                let mut branches = Vec::with_capacity(conditions.len());
                for branch in conditions {
                    let condition = self.bind(&branch.condition, context)?;
                    let condition = match operand {
                        Some(operand) => {
                            self.compare(Comparison::Equal, operand, condition, place(&branch.condition), context)?
                        }
                        None => self.coerce(condition, Type::Bool, place(&branch.condition), context)?,
                    };
                    branches.push((condition, self.bind(&branch.result, context)?));
                }
                let otherwise = match else_result {
                    Some(result) => self.bind(result, context)?,
                    None => Bound::Null,
                };
                return self.case(branches, otherwise, span, context);
            }
            Expr::Cast { kind, expr, data_type, format: None } => {
                if !matches!(kind, CastKind::Cast | CastKind::SafeCast | CastKind::TryCast | CastKind::DoubleColon) {
                    return Err(self.unsupported("this kind of cast", span, context));
                }
                let to = self.data_type(data_type, span, context)?;
                match self.bind(expr, context)? {
                    Bound::Null => self.graph.constant(Value::Null(to)),
                    Bound::Node(node) => self.cast(node, to, span, context)?,
                }
            }
            Expr::Extract { field, expr, .. } => self.extract(field, expr, span, context)?,
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.float1(Float1::Floor, expr, context)?
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.float1(Float1::Ceil, expr, context)?
            }
            Expr::Trim { trim_where: None, trim_what: None, expr, trim_characters: None } => {
                let text = self.bind(expr, context)?;
                let text = self.coerce(text, Type::String, place(expr), context)?;
                self.graph.operator(Op::Text1(crate::op::Text1::Trim), vec![text])
            }
            Expr::Substring { expr, substring_from: Some(start), substring_for: length, special, .. } => {
                if !special {
                    return Err(self.unsupported("SUBSTRING(text FROM start FOR length)", span, context));
                }
                let mut arguments = vec![(self.bind(expr, context)?, span)];
                for argument in std::iter::once(start).chain(length) {
                    arguments.push((self.bind(argument, context)?, place(argument)));
                }
                self.substring(&arguments, span, context)?
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                let like = self.like(expr, pattern, context)?;
                self.negate_if(*negated, like)
            }
            Expr::Function(function) => return self.call(function, span, context),
            other => return Err(self.unsupported(&format!("`{other}`"), span, context)),
        }))
    }

    fn unsupported(&self, what: &str, span: Span, context: &Context<'_>) -> FeatureError {
        let expected =
            "scalar expressions only: arithmetic, comparison, AND/OR/NOT, CASE, CAST, BETWEEN, IN, LIKE, EXTRACT, \
                        and the functions of the reference"
                .to_owned();
        self.error_expecting(context, span, "unsupported", format!("{what} is not supported"), Some(expected))
    }

    fn literal(&mut self, value: &SqlValue, span: Span, context: &Context<'_>) -> Result<Bound> {
        Ok(Bound::Node(match value {
            SqlValue::Null => return Ok(Bound::Null),
            SqlValue::Boolean(value) => self.graph.constant(Value::Bool(*value)),
            SqlValue::SingleQuotedString(text) => self.graph.constant(Value::String(text.clone())),
            SqlValue::Number(text, _) => {
                let value = match text.parse::<i64>() {
                    Ok(value) => Value::Int(value),
                    Err(_) => match text.parse::<f64>() {
                        Ok(value) if value.is_finite() => Value::Float(value),
                        _ => {
                            let message = format!("`{text}` is not a finite number");
                            return Err(self.error(context, span, "number_invalid", message));
                        }
                    },
                };
                self.graph.constant(value)
            }
            SqlValue::DoubleQuotedString(text) => {
                let message = format!("\"{text}\": write texts in single quotes");
                return Err(self.error(context, span, "unsupported", message));
            }
            other => return Err(self.unsupported(&format!("the literal {other}"), span, context)),
        }))
    }

    fn timestamp_literal(&mut self, literal: &TypedString, span: Span, context: &Context<'_>) -> Result<NodeId> {
        let text = literal.value.value.clone().into_string().unwrap_or_default();
        if !matches!(literal.data_type, DataType::Timestamp(..)) {
            return Err(self.unsupported(&format!("{} '{text}'", literal.data_type), span, context));
        }
        match text.replacen(' ', "T", 1).parse::<jiff::Timestamp>() {
            Ok(timestamp) => Ok(self.graph.constant(Value::Timestamp(timestamp.as_microsecond()))),
            Err(error) => {
                let expected = "write it as TIMESTAMP '2026-01-31T09:30:00Z'".to_owned();
                let message = format!("'{text}' is not a timestamp with an offset: {error}");
                Err(self.error_expecting(context, span, "timestamp_invalid", message, Some(expected)))
            }
        }
    }

    /// A chain like `a + b + c …` leans to the left as deep as it is long: bound in a loop, not by recursion.
    fn binary_chain(&mut self, expression: &Expr, context: &Context<'_>) -> Result<NodeId> {
        let mut chain = Vec::new();
        let mut leftmost = expression;
        while let Expr::BinaryOp { left, op, right } = leftmost {
            chain.push((op, right, place(right)));
            leftmost = left;
        }
        let mut left = self.bind(leftmost, context)?;
        for (op, right, span) in chain.into_iter().rev() {
            let right = self.bind(right, context)?;
            left = Bound::Node(self.binary(op, left, right, span, context)?);
        }
        match left {
            Bound::Node(node) => Ok(node),
            Bound::Null => Ok(self.graph.constant(Value::Null(Type::Float))),
        }
    }

    fn binary(
        &mut self,
        op: &BinaryOperator,
        left: Bound,
        right: Bound,
        span: Span,
        context: &Context<'_>,
    ) -> Result<NodeId> {
        match op {
            BinaryOperator::Plus => self.number2(left, right, Float2::Add, Some(Int2::Add), span, context),
            BinaryOperator::Minus => self.number2(left, right, Float2::Subtract, Some(Int2::Subtract), span, context),
            BinaryOperator::Multiply => {
                self.number2(left, right, Float2::Multiply, Some(Int2::Multiply), span, context)
            }
            BinaryOperator::Divide => self.number2(left, right, Float2::Divide, None, span, context),
            BinaryOperator::Modulo => self.number2(left, right, Float2::Modulo, Some(Int2::Modulo), span, context),
            BinaryOperator::Eq => self.compare(Comparison::Equal, left, right, span, context),
            BinaryOperator::NotEq => self.compare(Comparison::NotEqual, left, right, span, context),
            BinaryOperator::Lt => self.compare(Comparison::Less, left, right, span, context),
            BinaryOperator::LtEq => self.compare(Comparison::LessOrEqual, left, right, span, context),
            BinaryOperator::Gt => self.compare(Comparison::Less, right, left, span, context),
            BinaryOperator::GtEq => self.compare(Comparison::LessOrEqual, right, left, span, context),
            BinaryOperator::And | BinaryOperator::Or => {
                let left = self.coerce(left, Type::Bool, span, context)?;
                let right = self.coerce(right, Type::Bool, span, context)?;
                let op = if matches!(op, BinaryOperator::And) { Op::And } else { Op::Or };
                Ok(self.graph.operator(op, vec![left, right]))
            }
            BinaryOperator::StringConcat => {
                let left = self.coerce(left, Type::String, span, context)?;
                let right = self.coerce(right, Type::String, span, context)?;
                Ok(self.graph.operator(Op::Concat, vec![left, right]))
            }
            other => Err(self.unsupported(&format!("operator `{other}`"), span, context)),
        }
    }

    fn negate_if(&mut self, negated: bool, node: NodeId) -> NodeId {
        if negated { self.graph.operator(Op::Not, vec![node]) } else { node }
    }

    fn is_null(&mut self, inner: &Expr, context: &Context<'_>) -> Result<NodeId> {
        Ok(match self.bind(inner, context)? {
            Bound::Null => self.graph.constant(Value::Bool(true)),
            Bound::Node(node) => self.graph.operator(Op::IsNull, vec![node]),
        })
    }

    /// `x IS [NOT] TRUE/FALSE`: never NULL.
    fn is_bool(&mut self, inner: &Expr, wanted: bool, negated: bool, context: &Context<'_>) -> Result<NodeId> {
        let bound = self.bind(inner, context)?;
        let node = self.coerce(bound, Type::Bool, place(inner), context)?;
        let node = if wanted { node } else { self.graph.operator(Op::Not, vec![node]) };
        let otherwise = self.graph.constant(Value::Bool(false));
        let known = self.graph.operator(Op::Coalesce(Type::Bool), vec![node, otherwise]);
        Ok(self.negate_if(negated, known))
    }
}

/// The least integer is written with a minus before a number that is no integer by itself.
fn is_least_integer(negated: &Expr) -> bool {
    matches!(negated, Expr::Value(value) if matches!(&value.value, SqlValue::Number(text, _) if text == "9223372036854775808"))
}
