//! Calls that are arithmetic of the graph: what they have in common with others is computed once.

use super::{Binder, Bound, Context, Result, library::Argument};
use crate::{
    Value,
    graph::NodeId,
    op::{Float1, Float2, Int2, Op, TimeField, ZoneIndex},
};

/// Mean Earth radius R1 in metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

impl Binder<'_> {
    fn of(&mut self, function: Float1, x: NodeId) -> NodeId {
        self.graph.operator(Op::Float1(function), vec![x])
    }

    fn with(&mut self, function: Float2, x: NodeId, y: NodeId) -> NodeId {
        self.graph.operator(Op::Float2(function), vec![x, y])
    }

    fn with_constant(&mut self, function: Float2, x: NodeId, y: f64) -> NodeId {
        let y = self.graph.constant(Value::Float(y));
        self.with(function, x, y)
    }

    /// A number above 0.
    fn positive(&self, argument: Argument, what: &str, context: &Context<'_>) -> Result<f64> {
        let number = self.number(argument, context)?;
        if number > 0.0 {
            Ok(number)
        } else {
            Err(self.bad_argument(argument.1, format!("{what} must be above 0"), context))
        }
    }

    pub(super) fn clip(&mut self, x: Argument, low: Argument, high: Argument, context: &Context<'_>) -> Result<Bound> {
        if self.number(low, context)? > self.number(high, context)? {
            return Err(self.bad_argument(low.1, "the lower bound is above the upper one", context));
        }
        let above = self.number2(x.0, low.0, Float2::Greatest, Some(Int2::Greatest), low.1, context)?;
        let within = self.number2(Bound::Node(above), high.0, Float2::Least, Some(Int2::Least), high.1, context)?;
        Ok(Bound::Node(within))
    }

    pub(super) fn standardize(
        &mut self,
        x: Argument,
        mean: Argument,
        sd: Argument,
        context: &Context<'_>,
    ) -> Result<NodeId> {
        let (mean, sd) = (self.number(mean, context)?, self.positive(sd, "sd", context)?);
        let x = self.float(x.0, x.1, context)?;
        let difference = self.with_constant(Float2::Subtract, x, mean);
        Ok(self.with_constant(Float2::Divide, difference, sd))
    }

    /// Of the remainder, which is exact, so that a whole period more gives the same bits.
    pub(super) fn cycle(
        &mut self,
        cosine: bool,
        x: Argument,
        period: Argument,
        context: &Context<'_>,
    ) -> Result<NodeId> {
        let period = self.positive(period, "the period", context)?;
        let x = self.float(x.0, x.1, context)?;
        let rest = self.with_constant(Float2::Modulo, x, period);
        let turn = self.with_constant(Float2::Divide, rest, period);
        let angle = self.with_constant(Float2::Multiply, turn, std::f64::consts::TAU);
        Ok(self.of(if cosine { Float1::Cos } else { Float1::Sin }, angle))
    }

    /// Equirectangular projection with the standard parallel `lat0` (Snyder, "Map Projections", equations 12-1 and 12-2).
    pub(super) fn project(
        &mut self,
        east: bool,
        [lat, lon, lat0, lon0]: [Argument; 4],
        context: &Context<'_>,
    ) -> Result<NodeId> {
        let arguments = [lat, lon, lat0, lon0].map(|(bound, span)| self.float(bound, span, context));
        let [lat, lon, lat0, lon0] = arguments;
        let (lat, lon, lat0, lon0) = (lat?, lon?, lat0?, lon0?);
        if !east {
            let difference = self.with(Float2::Subtract, lat, lat0);
            let angle = self.of(Float1::Radians, difference);
            return Ok(self.with_constant(Float2::Multiply, angle, EARTH_RADIUS_M));
        }
        let difference = self.with(Float2::Subtract, lon, lon0);
        // The shorter way round: less the whole turns of what is outside -180..180.
        let turns = self.with_constant(Float2::Add, difference, 180.0);
        let turns = self.with_constant(Float2::Divide, turns, 360.0);
        let turns = self.of(Float1::Floor, turns);
        let turns = self.with_constant(Float2::Multiply, turns, 360.0);
        let difference = self.with(Float2::Subtract, difference, turns);
        let angle = self.of(Float1::Radians, difference);
        let along = self.with_constant(Float2::Multiply, angle, EARTH_RADIUS_M);
        let lat0 = self.of(Float1::Radians, lat0);
        let parallel = self.of(Float1::Cos, lat0);
        Ok(self.with(Float2::Multiply, along, parallel))
    }

    fn field(&mut self, field: TimeField, instant: NodeId, zone: ZoneIndex) -> NodeId {
        self.graph.operator(Op::LocalTime(field, zone), vec![instant])
    }

    /// `a * by + b`.
    fn in_units(&mut self, a: NodeId, by: i64, b: NodeId) -> NodeId {
        let by = self.graph.constant(Value::Int(by));
        let a = self.graph.operator(Op::Int2(Int2::Multiply), vec![a, by]);
        self.graph.operator(Op::Int2(Int2::Add), vec![a, b])
    }

    pub(super) fn minute_of_week(&mut self, instant: NodeId, zone: ZoneIndex) -> NodeId {
        let [weekday, hour, minute] =
            [TimeField::IsoDayOfWeek, TimeField::Hour, TimeField::Minute].map(|field| self.field(field, instant, zone));
        let one = self.graph.constant(Value::Int(1));
        let day = self.graph.operator(Op::Int2(Int2::Subtract), vec![weekday, one]);
        let hour = self.in_units(day, 24, hour);
        self.in_units(hour, 60, minute)
    }

    pub(super) fn seconds_of_day(&mut self, instant: NodeId, zone: ZoneIndex) -> NodeId {
        let [hour, minute, second] =
            [TimeField::Hour, TimeField::Minute, TimeField::Second].map(|field| self.field(field, instant, zone));
        let minute = self.in_units(hour, 60, minute);
        self.in_units(minute, 60, second)
    }
}
