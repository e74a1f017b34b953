//! Function calls and EXTRACT.

use sqlparser::{
    ast::{DateTimeField, Expr, Function as SqlFunction, FunctionArg, FunctionArgExpr, FunctionArguments},
    tokenizer::Span,
};

use super::{Binder, Bound, Context, Result, syntax::place};
use crate::{
    Type, Value,
    catalogue::{self, FunctionKind},
    error::did_you_mean,
    graph::NodeId,
    op::{Comparison, Float1, Float2, Int1, Int2, Op, TimeField},
};

impl Binder<'_> {
    pub(super) fn extract(
        &mut self,
        field: &DateTimeField,
        from: &Expr,
        span: Span,
        context: &Context<'_>,
    ) -> Result<NodeId> {
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
        let zone = self.time_zone(&zone, place(from), context)?;
        Ok(self.graph.operator(Op::LocalTime(field, zone), vec![node]))
    }

    pub(super) fn call(&mut self, call: &SqlFunction, span: Span, context: &Context<'_>) -> Result<Bound> {
        let name = call.name.to_string();
        let Some(function) = catalogue::find(&name) else {
            let known = catalogue::functions().map(|function| function.name);
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

    pub(super) fn apply(
        &mut self,
        function: &catalogue::Function,
        arguments: &[(Bound, Span)],
        span: Span,
        context: &Context<'_>,
    ) -> Result<Bound> {
        let (least, most) = function.kind.arguments();
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
            _ => return self.library(function.kind, arguments, span, context),
        }))
    }
}
