//! Which function answers which request.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>

use std::collections::BTreeMap;

use http::Method;

use crate::{encoding::percent_decode, template::RouteSpec};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Plain(String),
    Variable(String),
    Greedy(String),
}

#[derive(Debug)]
struct Route {
    /// `GET /x/{y}`, `ANY /x` or `$default`.
    key: String,
    method: Option<String>,
    segments: Option<Vec<Segment>>,
    function: String,
    signed: bool,
}

#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

/// The route that a request takes.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) key: &'a str,
    pub(crate) function: &'a str,
    pub(crate) variables: BTreeMap<String, String>,
    /// Whether the caller must have signed.
    pub(crate) signed: bool,
}

impl Routes {
    pub(crate) fn new(specs: &[RouteSpec]) -> Self {
        let routes = specs.iter().map(|spec| Route {
            key: match &spec.path {
                Some(path) => format!("{} {path}", spec.method.as_deref().unwrap_or("ANY")),
                None => "$default".to_owned(),
            },
            method: spec.method.clone().filter(|_| spec.path.is_some()),
            segments: spec.path.as_deref().map(parse),
            function: spec.function.clone(),
            signed: spec.signed,
        });
        Self(routes.collect())
    }

    /// The most specific route: plain segments before variables, variables before greedy ones, the default last; of
    /// equals the one that names the method.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<Found<'_>> {
        let fitting =
            self.0.iter().filter(|route| route.method.as_deref().is_none_or(|wanted| wanted == method.as_str()));
        let fitting = fitting.filter_map(|route| {
            let Some(segments) = &route.segments else { return Some((vec![3], route, BTreeMap::new())) };
            let (mut rank, variables) = fit(segments, path)?;
            rank.push(u8::from(route.method.is_none()));
            Some((rank, route, variables))
        });
        let (_, route, variables) = fitting.min_by(|one, other| one.0.cmp(&other.0))?;
        Some(Found { key: &route.key, function: &route.function, variables, signed: route.signed })
    }
}

fn parse(path: &str) -> Vec<Segment> {
    let segment = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(name) => match name.strip_suffix('+') {
            Some(name) => Segment::Greedy(name.to_owned()),
            None => Segment::Variable(name.to_owned()),
        },
        None => Segment::Plain(text.to_owned()),
    };
    path.trim_matches('/').split('/').map(segment).collect()
}

fn fit(segments: &[Segment], path: &str) -> Option<(Vec<u8>, BTreeMap<String, String>)> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let parts: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    let (mut rank, mut variables) = (Vec::new(), BTreeMap::new());
    for (index, segment) in segments.iter().enumerate() {
        match segment {
            Segment::Plain(text) if parts.get(index).is_some_and(|part| percent_decode(part, false) == *text) => {
                rank.push(0);
            }
            Segment::Variable(name) if parts.get(index).is_some_and(|part| !part.is_empty()) => {
                variables.insert(name.clone(), percent_decode(parts[index], false));
                rank.push(1);
            }
            Segment::Greedy(name) if parts.len() > index && !parts[index].is_empty() => {
                variables.insert(name.clone(), percent_decode(&parts[index..].join("/"), false));
                rank.push(2);
                return Some((rank, variables));
            }
            _ => return None,
        }
    }
    (parts.len() == segments.len()).then_some((rank, variables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_route_wins() {
        let route = |method: &str, path: &str| RouteSpec {
            method: Some(method.to_owned()).filter(|method| method != "ANY"),
            path: Some(path.to_owned()),
            function: format!("{method} {path}"),
            signed: false,
        };
        let mut specs = vec![
            route("ANY", "/{all+}"),
            route("GET", "/pets/{id}"),
            route("ANY", "/pets/{id}"),
            route("GET", "/pets/dog"),
            route("POST", "/pets/{id}/photos/{proxy+}"),
        ];
        let routes = Routes::new(&specs);
        let key = |routes: &Routes, method, path| routes.find(&method, path).map(|found| found.key.to_owned());
        assert_eq!(key(&routes, Method::GET, "/pets/dog").as_deref(), Some("GET /pets/dog"));
        assert_eq!(key(&routes, Method::GET, "/pets/7").as_deref(), Some("GET /pets/{id}"));
        assert_eq!(key(&routes, Method::PUT, "/pets/dog").as_deref(), Some("ANY /pets/{id}"));
        assert_eq!(key(&routes, Method::GET, "/other/x").as_deref(), Some("ANY /{all+}"));
        assert_eq!(key(&routes, Method::GET, "/"), None);
        let found = routes.find(&Method::POST, "/pets/a%20b/photos/x/y.png").unwrap();
        assert_eq!(found.variables["id"], "a b");
        assert_eq!(found.variables["proxy"], "x/y.png");
        specs.push(RouteSpec { method: None, path: None, function: "rest".to_owned(), signed: false });
        assert_eq!(key(&Routes::new(&specs), Method::GET, "/").as_deref(), Some("$default"));
    }
}
