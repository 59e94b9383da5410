//! The description of the admin API (OpenAPI 3.1), made of the handlers and tables that answer it.

use bytes::Bytes;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, RefOr,
        Required, ResponseBuilder, Schema, SchemaFormat,
        path::{Operation, Parameter as Described, ParameterBuilder, ParameterIn, ParameterStyle},
        schema::{ArrayBuilder, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    bulk, events, list,
    query::{Kind, Parameter},
};
use crate::model::problem;

/// What is described before the handlers are.
pub(super) fn beginning() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Raincheck's admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Runs, deliveries and receivers, for operators and their tools. Every refusal is a problem document \
             (RFC 9457) with a stable `code`, which the header `Raincheck-Error` repeats.",
        ))
        .build();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The configuration's `admin.token`, if there is one."))
        .build();
    let mut components = Components::new();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    components
        .schemas
        .insert(ProblemDocument::name().into(), ProblemDocument::schema());
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([
            SecurityRequirement::new("token", Vec::<String>::new()),
            SecurityRequirement::default(),
        ]))
        .build()
}

/// The description as a document: each operation's refusals are added.
pub(super) fn document(mut api: OpenApi) -> Bytes {
    let refusal = ResponseBuilder::new()
        .description("Refused; the problem's `code` and `detail` say why.")
        .content(
            problem::CONTENT_TYPE,
            ContentBuilder::new()
                .schema(Some(RefOr::Ref(utoipa::openapi::Ref::from_schema_name(
                    ProblemDocument::name(),
                ))))
                .build(),
        )
        .build();
    for path in api.paths.paths.values_mut() {
        for operation in [&mut path.get, &mut path.post].into_iter().flatten() {
            refusable(operation, &refusal);
        }
    }
    api.to_json().unwrap_or_default().into()
}

fn refusable(operation: &mut Operation, refusal: &utoipa::openapi::Response) {
    let responses = &mut operation.responses.responses;
    responses.insert("default".to_owned(), RefOr::T(refusal.clone()));
}

/// A problem document (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it describes what `model::problem` writes")]
struct ProblemDocument {
    /// The page that explains the code.
    r#type: String,
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// Stable, for programs.
    code: String,
    /// The run that it is about.
    #[schema(nullable = false)]
    run_id: Option<String>,
}

/// The parameters of a list.
pub(super) struct OfList;

impl IntoParams for OfList {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Described> {
        list::PARAMETERS.iter().map(|one| described(one)).collect()
    }
}

/// Those of events.
pub(super) struct OfEvents;

impl IntoParams for OfEvents {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Described> {
        let all = events::OF_EVENTS.iter();
        all.map(|one| described(one)).collect()
    }
}

/// Those of cancelling by filter.
pub(super) struct OfCancel;

impl IntoParams for OfCancel {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Described> {
        bulk::OF_CANCEL.iter().map(|one| described(one)).collect()
    }
}

/// Those of redelivering by filter.
pub(super) struct OfRedeliver;

impl IntoParams for OfRedeliver {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Described> {
        bulk::OF_REDELIVER
            .iter()
            .map(|one| described(one))
            .collect()
    }
}

fn described(parameter: &Parameter) -> Described {
    let lists = matches!(parameter.kind, Kind::AnyOf(_));
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(parameter.says))
        .style(lists.then_some(ParameterStyle::Form))
        .explode(lists.then_some(true))
        .schema(Some(schema(&parameter.kind)))
        .build()
}

fn schema(kind: &Kind) -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let some = |words: &[&'static str]| text().enum_values(Some(words.iter().copied()));
    match kind {
        Kind::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
        Kind::OneOf(words) => some(&words()).into(),
        Kind::AnyOf(words) => ArrayBuilder::new()
            .items(some(&words()))
            .min_items(Some(1))
            .into(),
        Kind::Text => text().min_length(Some(1)).into(),
        Kind::Moment => text()
            .pattern(Some(
                "^(-[1-9][0-9]{0,3}[smhd]|2[01][0-9]{2}-0[1-9]-[012][1-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9]Z)$",
            ))
            .into(),
        Kind::Number {
            least,
            most,
            default,
        } => ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(*least))
            .maximum(Some(*most))
            .default(Some((*default).into()))
            .into(),
        Kind::Cursor => text()
            .format(Some(SchemaFormat::Custom("uuid".into())))
            .into(),
    }
}
