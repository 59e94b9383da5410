//! The admin API's description, and what is not in it.

use super::office::{HERE, office};

#[tokio::test]
async fn every_resource_is_described() {
    let office = office(None);
    let api = office.get("/openapi.json").await.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = api["paths"].as_object().unwrap();
    for (path, method) in [
        ("/api/v1/runs", "get"),
        ("/api/v1/runs/{id}", "get"),
        ("/api/v1/runs/{id}/response", "get"),
        ("/api/v1/runs/{id}/cancel", "post"),
        ("/api/v1/runs/{id}/redeliver", "post"),
        ("/api/v1/runs/{id}/repeat", "post"),
        ("/api/v1/runs/cancel", "post"),
        ("/api/v1/deliveries/redeliver", "post"),
        ("/api/v1/breakers", "get"),
        ("/api/v1/replicas", "get"),
        ("/api/v1/stats", "get"),
        ("/api/v1/events", "get"),
    ] {
        let operation = &paths[path][method];
        assert!(
            operation["description"].is_string() || operation["summary"].is_string(),
            "{path}"
        );
        let refusal = &operation["responses"]["default"]["content"]["application/problem+json"];
        assert_eq!(
            refusal["schema"]["$ref"], "#/components/schemas/Problem",
            "{path}"
        );
    }
    let operations = paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values());
    let ids: Vec<_> = operations
        .map(|it| it["operationId"].as_str().unwrap())
        .collect();
    let different: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{ids:?}");
    let parameters = paths["/api/v1/runs"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let state = parameters
        .iter()
        .find(|one| one["name"] == "state")
        .unwrap();
    assert_eq!(
        state["schema"]["items"]["enum"].as_array().unwrap().len(),
        5
    );
    let limit = parameters
        .iter()
        .find(|one| one["name"] == "limit")
        .unwrap();
    assert_eq!(
        (&limit["schema"]["minimum"], &limit["schema"]["maximum"]),
        (&1.into(), &200.into())
    );
}

#[tokio::test]
async fn what_is_not_there_and_wrong_methods_are_problems_too() {
    let office = office(None);
    office.get("/api/v1/nothing").await.problem(404, "no-route");
    for (method, target, allowed) in [
        ("DELETE", "/api/v1/runs", "GET"),
        ("GET", "/api/v1/runs/cancel", "POST"),
        ("PUT", "/login", "POST"),
    ] {
        let refused = office.send(method, target, &[HERE], "").await;
        refused.problem(405, "method-not-allowed");
        assert!(refused.header("allow").contains(allowed), "{target}");
    }
    let page = office.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(office.get("/login").await.header("location"), "/");
}
