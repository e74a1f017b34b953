//! SQL expressions into the typed graph.

use std::{collections::HashMap, ops::Range};

use sqlparser::{
    ast::{
        BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function as SqlFunction, FunctionArg,
        FunctionArgExpr, FunctionArguments, InTarget, Spanned as _, TypedString, UnaryOperator, Value as SqlValue,
    },
    dialect::GenericDialect,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Span, Token, Tokenizer},
};

use crate::{
    FeatureError, Type, Value,
    catalogue::{self, FunctionKind},
    error::did_you_mean,
    graph::{Graph, NodeId},
    op::{Compared, Comparison, Float1, Float2, Int1, Int2, Op, TimeField},
    spec::{Scope, Source, Spec},
};

/// Longer expressions are refused: they are generated, or an attack.
const MAX_EXPRESSION_BYTES: usize = 16 * 1024;
/// A chain of operators (`a + b + c …`) is a tree as deep as it is long, and trees are walked by recursion.
const MAX_OPERATORS: usize = 400;
/// sqlparser's own limit on nesting.
const MAX_NESTING: usize = 50;

/// Binds the expressions of one spec.
pub(crate) struct Binder<'a> {
    source: &'a Source<'a>,
    spec: &'a Spec,
    pub(crate) graph: Graph,
    features: HashMap<&'a str, FeatureState>,
}

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
    pub(crate) fn new(source: &'a Source<'a>, spec: &'a Spec) -> Self {
        Self { source, spec, graph: Graph::default(), features: HashMap::new() }
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

    fn parse(&self, text: &str, context: &Context<'_>) -> Result<Expr> {
        if text.len() > MAX_EXPRESSION_BYTES {
            let message = format!("the expression has {} bytes; at most {MAX_EXPRESSION_BYTES} are taken", text.len());
            return Err(self.error(context, Span::empty(), "expression_too_long", message));
        }
        let syntax = |message: String| {
            // sqlparser appends " at Line: 1, Column: 7".
            let (message, place) = message.split_once(" at Line: ").unwrap_or((&message, ""));
            let mut numbers = place.split(", Column: ").filter_map(|number| number.trim().parse::<u64>().ok());
            let (line, column) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
            FeatureError::Spec {
                location: self.source.inside(&context.span, line, column),
                reason: "syntax",
                message: format!("{}: {}", context.what, message.trim_start_matches("sql parser error: ")),
                expected: None,
            }
        };
        let dialect = GenericDialect {};
        let tokens = Tokenizer::new(&dialect, text)
            .tokenize_with_location()
            .map_err(|error| syntax(format!("sql parser error: {error}")))?;
        let operators = tokens.iter().filter(|token| deepens(&token.token)).count();
        if operators > MAX_OPERATORS {
            let message = format!("the expression has {operators} operators; at most {MAX_OPERATORS} are taken");
            let expected = "name its parts as features of their own, or use IN".to_owned();
            return Err(self.error_expecting(context, Span::empty(), "expression_too_long", message, Some(expected)));
        }
        let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_NESTING).with_tokens_with_locations(tokens);
        let expression = parser.parse_expr().map_err(|error| syntax(error.to_string()))?;
        let rest = parser.next_token();
        if rest.token != Token::EOF {
            let message = format!("`{}` is left over after the expression", rest.token);
            return Err(self.error(context, rest.span, "syntax", message));
        }
        Ok(expression)
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
            Expr::Function(function) => return self.call(function, span, context),
            other => return Err(self.unsupported(&format!("`{other}`"), span, context)),
        }))
    }

    fn unsupported(&self, what: &str, span: Span, context: &Context<'_>) -> FeatureError {
        let expected =
            "scalar expressions only: arithmetic, comparison, AND/OR/NOT, CASE, CAST, BETWEEN, IN, EXTRACT, \
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

    /// Integer arithmetic where both are integers (and there is such), else float.
    fn number2(
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

    fn number1(
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

    fn is_int(&self, bound: Bound) -> bool {
        matches!(bound, Bound::Node(node) if self.graph.type_of(node) == Type::Int)
    }

    fn float1(&mut self, function: Float1, operand: &Expr, context: &Context<'_>) -> Result<NodeId> {
        let bound = self.bind(operand, context)?;
        let operand = self.float(bound, place(operand), context)?;
        Ok(self.graph.operator(Op::Float1(function), vec![operand]))
    }

    /// As a float: integers and booleans are converted (the model's columns are all numbers).
    fn float(&mut self, bound: Bound, span: Span, context: &Context<'_>) -> Result<NodeId> {
        match bound {
            Bound::Node(node) if matches!(self.graph.type_of(node), Type::Int | Type::Bool) => {
                let from = self.graph.type_of(node);
                Ok(self.graph.operator(Op::Cast(from, Type::Float), vec![node]))
            }
            _ => self.coerce(bound, Type::Float, span, context),
        }
    }

    /// As type `to`: a NULL takes it, an integer becomes a float, anything else must have it already.
    fn coerce(&mut self, bound: Bound, to: Type, span: Span, context: &Context<'_>) -> Result<NodeId> {
        let node = match bound {
            Bound::Null => return Ok(self.graph.constant(Value::Null(to))),
            Bound::Node(node) => node,
        };
        match (self.graph.type_of(node), to) {
            (from, to) if from == to => Ok(node),
            (Type::Int, Type::Float) => Ok(self.graph.operator(Op::Cast(Type::Int, Type::Float), vec![node])),
            (from, to) => {
                let message = format!("a {to} is needed here, this is a {from}");
                Err(self.error(context, span, "type_mismatch", message))
            }
        }
    }

    /// The type that both can have.
    fn common(&mut self, left: Bound, right: Bound, span: Span, context: &Context<'_>) -> Result<Type> {
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
                let message = format!("a {left} and a {right} have no common type");
                let expected = "use CAST to make them one".to_owned();
                Err(self.error_expecting(context, span, "type_mismatch", message, Some(expected)))
            }
        }
    }

    fn compare(
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

    fn case(
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

    fn data_type(&self, data_type: &DataType, span: Span, context: &Context<'_>) -> Result<Type> {
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

    fn cast(&mut self, node: NodeId, to: Type, span: Span, context: &Context<'_>) -> Result<NodeId> {
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

    fn extract(&mut self, field: &DateTimeField, from: &Expr, span: Span, context: &Context<'_>) -> Result<NodeId> {
        let (timestamp, zone) = match from {
            Expr::AtTimeZone { timestamp, time_zone } => {
                let Expr::Value(value) = time_zone.as_ref() else {
                    return Err(self.unsupported("a time zone that is not a text literal", span, context));
                };
                (timestamp.as_ref(), value.value.clone().into_string().unwrap_or_default())
            }
            other => (other, "UTC".to_owned()),
        };
        let field = match field {
            DateTimeField::Year => TimeField::Year,
            DateTimeField::Quarter => TimeField::Quarter,
            DateTimeField::Month => TimeField::Month,
            DateTimeField::Day => TimeField::Day,
            DateTimeField::DayOfYear | DateTimeField::Doy => TimeField::DayOfYear,
            DateTimeField::Hour => TimeField::Hour,
            DateTimeField::Minute => TimeField::Minute,
            DateTimeField::Second => TimeField::Second,
            DateTimeField::DayOfWeek => TimeField::DayOfWeek,
            DateTimeField::Isodow => TimeField::IsoDayOfWeek,
            other => {
                let expected = "YEAR, QUARTER, MONTH, DAY, DAYOFYEAR, HOUR, MINUTE, SECOND, DAYOFWEEK (Sunday 1) and \
                                ISODOW (Monday 1) can be extracted"
                    .to_owned();
                let message = format!("cannot extract {other}");
                return Err(self.error_expecting(context, span, "unsupported", message, Some(expected)));
            }
        };
        let bound = self.bind(timestamp, context)?;
        let node = self.coerce(bound, Type::Timestamp, place(timestamp), context)?;
        let Some(zone) = self.graph.zone(&zone) else {
            let expected = "use a name of the IANA time zone database, such as 'Asia/Tokyo'".to_owned();
            let message = format!("unknown time zone '{zone}'");
            return Err(self.error_expecting(context, place(from), "unknown_time_zone", message, Some(expected)));
        };
        Ok(self.graph.operator(Op::LocalTime(field, zone), vec![node]))
    }

    fn call(&mut self, call: &SqlFunction, span: Span, context: &Context<'_>) -> Result<Bound> {
        let name = call.name.to_string();
        let Some(function) = catalogue::find(&name) else {
            let known = catalogue::FUNCTIONS.iter().map(|function| function.name);
            let expected = did_you_mean(&name, known, "functions");
            let message = format!("unknown function `{name}`");
            return Err(self.error_expecting(context, span, "unknown_function", message, Some(expected)));
        };
        let mut arguments = Vec::new();
        let plain = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty();
        match &call.args {
            FunctionArguments::List(list) if plain && list.clauses.is_empty() && list.duplicate_treatment.is_none() => {
                for argument in &list.args {
                    let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
                        return Err(self.unsupported(&format!("the argument `{argument}`"), span, context));
                    };
                    arguments.push((self.bind(argument, context)?, place(argument)));
                }
            }
            FunctionArguments::None => {}
            _ => return Err(self.unsupported("this form of a function call", span, context)),
        }
        self.apply(function, &arguments, span, context)
    }

    fn apply(
        &mut self,
        function: &catalogue::Function,
        arguments: &[(Bound, Span)],
        span: Span,
        context: &Context<'_>,
    ) -> Result<Bound> {
        let (least, most) = match function.kind {
            FunctionKind::Plain { count, .. } => (count, count),
            FunctionKind::Pi => (0, 0),
            FunctionKind::Numeric(_) | FunctionKind::UnixSeconds => (1, 1),
            FunctionKind::Modulo
            | FunctionKind::IntegerDivide
            | FunctionKind::SafeDivide
            | FunctionKind::Power
            | FunctionKind::Atan2
            | FunctionKind::NullIf => (2, 2),
            FunctionKind::If => (3, 3),
            FunctionKind::Extreme { .. } | FunctionKind::Coalesce | FunctionKind::Concat => (1, usize::MAX),
        };
        if arguments.len() < least || arguments.len() > most {
            let message = format!("{} takes another number of arguments than {}", function.name, arguments.len());
            let expected = format!("write {}", function.signature);
            return Err(self.error_expecting(context, span, "argument_count", message, Some(expected)));
        }
        let bound = |index: usize| arguments.get(index).map_or((Bound::Null, span), |argument| *argument);
        let ((first, first_span), (second, _)) = (bound(0), bound(1));
        Ok(Bound::Node(match function.kind {
            FunctionKind::Plain { op, argument, .. } => {
                let mut operands = Vec::with_capacity(arguments.len());
                for &(bound, span) in arguments {
                    operands.push(if argument == Type::Float {
                        self.float(bound, span, context)?
                    } else {
                        self.coerce(bound, argument, span, context)?
                    });
                }
                self.graph.operator(op, operands)
            }
            FunctionKind::Numeric(float) => {
                let int = if float == Float1::Sign { Int1::Sign } else { Int1::Abs };
                self.number1(first, float, int, first_span, context)?
            }
            FunctionKind::Extreme { greatest } => {
                let (float, int) =
                    if greatest { (Float2::Greatest, Int2::Greatest) } else { (Float2::Least, Int2::Least) };
                let mut extreme = first;
                for &(argument, span) in arguments.get(1..).unwrap_or_default() {
                    extreme = Bound::Node(self.number2(extreme, argument, float, Some(int), span, context)?);
                }
                return Ok(extreme);
            }
            FunctionKind::Modulo => self.number2(first, second, Float2::Modulo, Some(Int2::Modulo), span, context)?,
            FunctionKind::IntegerDivide => {
                let left = self.coerce(first, Type::Int, span, context)?;
                let right = self.coerce(second, Type::Int, span, context)?;
                self.graph.operator(Op::Int2(Int2::Divide), vec![left, right])
            }
            FunctionKind::SafeDivide => self.number2(first, second, Float2::Divide, None, span, context)?,
            FunctionKind::Power => self.number2(first, second, Float2::Power, None, span, context)?,
            FunctionKind::Atan2 => self.number2(first, second, Float2::Atan2, None, span, context)?,
            FunctionKind::Pi => self.graph.constant(Value::Float(std::f64::consts::PI)),
            FunctionKind::Coalesce => {
                let mut chosen = first;
                for &(argument, span) in arguments.get(1..).unwrap_or_default() {
                    let common = self.common(chosen, argument, span, context)?;
                    let left = self.coerce(chosen, common, span, context)?;
                    let right = self.coerce(argument, common, span, context)?;
                    chosen = Bound::Node(self.graph.operator(Op::Coalesce(common), vec![left, right]));
                }
                return Ok(chosen);
            }
            FunctionKind::NullIf => {
                let equal = self.compare(Comparison::Equal, first, second, span, context)?;
                return self.case(vec![(equal, Bound::Null)], first, span, context);
            }
            FunctionKind::If => {
                let condition = self.coerce(first, Type::Bool, first_span, context)?;
                return self.case(vec![(condition, second)], bound(2).0, span, context);
            }
            FunctionKind::UnixSeconds => {
                let micros = self.coerce(first, Type::Timestamp, first_span, context)?;
                match self.graph.zone("UTC") {
                    Some(utc) => self.graph.operator(Op::LocalSecond(utc), vec![micros]),
                    None => return Err(self.unsupported("UTC", span, context)),
                }
            }
            FunctionKind::Concat => {
                let mut text = self.coerce(first, Type::String, first_span, context)?;
                for &(argument, span) in arguments.get(1..).unwrap_or_default() {
                    let argument = self.coerce(argument, Type::String, span, context)?;
                    text = self.graph.operator(Op::Concat, vec![text, argument]);
                }
                text
            }
        }))
    }
}

/// Where an expression begins. Not sqlparser's span, which visits the whole tree, by recursion, at every call.
fn place(expression: &Expr) -> Span {
    let mut expression = expression;
    loop {
        expression = match expression {
            Expr::BinaryOp { left, .. } => left,
            Expr::Nested(inner)
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Between { expr: inner, .. }
            | Expr::In { expr: inner, .. }
            | Expr::Cast { expr: inner, .. }
            | Expr::Extract { expr: inner, .. }
            | Expr::AtTimeZone { timestamp: inner, .. }
            | Expr::Floor { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Trim { expr: inner, .. } => inner,
            Expr::Identifier(name) => return name.span,
            Expr::Value(value) => return value.span,
            Expr::TypedString(literal) => return literal.value.span,
            Expr::Function(function) => return function.name.span(),
            Expr::Case { case_token, .. } => return case_token.0.span,
            _ => return Span::empty(),
        };
    }
}

/// Whether a token can make the tree one level deeper without a parenthesis.
fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => !matches!(word.keyword, Keyword::NoKeyword | Keyword::WHEN | Keyword::THEN),
        Token::Whitespace(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::EOF => false,
        _ => true,
    }
}

/// An expression's tokens with one space between: the same for any layout and comments.
pub(crate) fn canonical(text: &str) -> String {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    let kept: Vec<String> =
        tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).map(ToString::to_string).collect();
    kept.join(" ")
}
