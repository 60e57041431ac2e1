"""Checks of deploy/ beyond linters: settings exist, and times are consistent.

The server's times are those that a deployment sets, or the defaults of docs/settings.md.
"""

import json
import pathlib
import re
import sys

import yaml
from cfnlint.decode import cfn_yaml

# Maximum time from SHUTDOWN_TIMEOUT until the process exits (src/server/shutdown.rs).
CLOSING_SECONDS = 1
# Health names of src/server/health.rs.
LIVENESS = "liveness"
READINESS = "tara.export.v1.ExportService"
# App Runner's limit of a request.
PLATFORM_SECONDS = 120
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}

faults = []


def expect(holds: bool, fault: str) -> None:
    if not holds:
        faults.append(fault)


def documented_settings() -> dict[str, str]:
    """Returns each setting of docs/settings.md with its default."""
    settings = pathlib.Path("docs/settings.md").read_text()
    return dict(re.findall(r"(?m)^\| `([A-Z0-9_]+)` \| `?([^`| ]+)", settings))


SETTINGS = documented_settings()


def seconds(environment: dict[str, str], name: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(\D+)", environment.get(name, SETTINGS[name])).groups()
    return int(number) * UNITS[unit]


def check_names(where: str, environment: dict[str, str]) -> None:
    for name in environment:
        expect(name in SETTINGS, f"{where}: {name} is not a setting of docs/settings.md")


def is_allowed(host: str, allowed: str) -> bool:
    """Implements the rules of src/host.rs, without ports."""
    def is_of(pattern: str) -> bool:
        return host == pattern.removeprefix(".") or (pattern.startswith(".") and host.endswith(pattern))

    return any(is_of(pattern) for pattern in allowed.split(","))


def template(name: str) -> dict:
    return json.loads(json.dumps(cfn_yaml.load(f"deploy/cloudformation/{name}.yaml")))


def pairs(variables: list) -> dict:
    return {variable["Name"]: variable["Value"] for variable in variables}


def attributes(resource: dict, name: str) -> dict:
    return {attribute["Key"]: attribute["Value"] for attribute in resource["Properties"][name]}


def check_hosts(where: str, stack: dict, environment: dict) -> None:
    """Checks ALLOWED_HOSTS: unauthenticated callers must use one of these hosts."""
    expect(environment.get("ALLOWED_HOSTS") == {"Ref": "AllowedHosts"}, f"{where}: AllowedHosts is not set")
    default = stack["Parameters"]["AllowedHosts"].get("Default")
    is_required = "AllowedHosts" in json.dumps(stack.get("Rules", {}))
    expect(bool(default) or is_required, f"{where}: without JwtIssuer, no host is allowed")


def check_ecs() -> None:
    resources = template("ecs")["Resources"]
    container = resources["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
    environment = pairs(container["Environment"])
    check_names("ecs.yaml", environment)
    shutdown = seconds(environment, "SHUTDOWN_TIMEOUT") + CLOSING_SECONDS
    expect(container["StopTimeout"] > shutdown, "ecs.yaml: StopTimeout is shorter than a regular shutdown")
    command = container["HealthCheck"]["Command"]
    expect(command[2:] == ["health", "--service", LIVENESS], "ecs.yaml: the task's health check is not liveness")
    idle = attributes(resources["LoadBalancer"], "LoadBalancerAttributes")["idle_timeout.timeout_seconds"]
    heartbeat = seconds(environment, "HEARTBEAT_INTERVAL")
    expect(float(idle) > 2 * heartbeat, "ecs.yaml: the idle timeout is not longer than two heartbeats")
    target = resources["TargetGroup"]["Properties"]
    expect(target["ProtocolVersion"] == "GRPC", "ecs.yaml: the target group does not speak gRPC")
    expect(target["HealthCheckPath"] == "/grpc.health.v1.Health/Check", "ecs.yaml: the target group's health check has another path")
    expect(target["Matcher"] == {"GrpcCode": "0"}, "ecs.yaml: the health check accepts other codes than OK")
    check_hosts("ecs.yaml", template("ecs"), environment)
    service = resources["Service"]["Properties"]
    expect(service["DesiredCount"]["Fn::If"][1] == 1, "ecs.yaml: only one task may use a volume")
    deployment = service["DeploymentConfiguration"]
    limits = (deployment["MinimumHealthyPercent"]["Fn::If"][1], deployment["MaximumPercent"]["Fn::If"][1])
    expect(limits == (0, 100), "ecs.yaml: a new task would start before the old one stops")


def check_app_runner() -> None:
    service = template("apprunner")["Resources"]["Service"]["Properties"]
    image = service["SourceConfiguration"]["ImageRepository"]["ImageConfiguration"]
    stack = pairs(image["RuntimeEnvironmentVariables"])
    source = yaml.safe_load(pathlib.Path("apprunner.yaml").read_text())["run"]
    file = {variable["name"]: variable["value"] for variable in source["env"]}
    expect(service["HealthCheckConfiguration"]["Path"] == "/livez", "cloudformation/apprunner.yaml: the health check is not /livez")
    for where, environment in (("cloudformation/apprunner.yaml", stack), ("apprunner.yaml", file)):
        check_names(where, environment)
        longest = seconds(environment, "MAX_STREAM_TIME")
        expect(0 < longest <= PLATFORM_SECONDS - 5, f"{where}: MAX_STREAM_TIME is not below the platform's limit")
    check_hosts("cloudformation/apprunner.yaml", template("apprunner"), stack)
    default = template("apprunner")["Parameters"]["AllowedHosts"]["Default"]
    for where, allowed in (("cloudformation/apprunner.yaml", default), ("apprunner.yaml", file.get("ALLOWED_HOSTS", ""))):
        expect(is_allowed("abc123.us-east-1.awsapprunner.com", allowed), f"{where}: the service's own name is refused")
    for name in ("MAX_STREAM_TIME", "DATA_DIR", "EPHEMERAL_DISK", "JOURNAL", "BIND_ADDRESS"):
        expect(stack[name] == file[name], f"{name} differs between apprunner.yaml and the stack")


def check_storage() -> None:
    bucket = template("storage")["Resources"]["Bucket"]["Properties"]
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    # The rules of `tara-export check` (crates/store/src/s3/lifecycle.rs): complete prefixes, no tags.
    aborts = rules["abort-unfinished-uploads"]
    expect(aborts["Prefix"] == {"Ref": "BasePath"}, "storage.yaml: the rule does not cover all unfinished parts")
    expect("DaysAfterInitiation" in aborts["AbortIncompleteMultipartUpload"], "storage.yaml: the rule does not abort multipart uploads")
    expires = rules["expire-uploads"]
    expect(expires["Prefix"] == {"Fn::Sub": "${BasePath}.tara-export/uploads/"}, "storage.yaml: the rule has another prefix than uploads")
    expect("ExpirationInDays" in expires, "storage.yaml: uploads do not expire")
    # Entries of the journal have their recipients beside them, and events are claimed for as long as entries exist.
    for name in ("journal", "events", "batches", "jobs"):
        rule = rules[f"expire-{name}"]
        expect(rule["Prefix"] == {"Fn::Sub": f"${{BasePath}}.tara-export/{name}/"}, f"storage.yaml: the rule has another prefix than {name}")
        expect(rule["ExpirationInDays"] == {"Ref": "JournalDays"}, f"storage.yaml: {name} do not expire after JournalDays")
    for rule in rules.values():
        expect(rule["Status"] == "Enabled", f"storage.yaml: {rule['Id']} is disabled")
        is_bundles = rule["Prefix"] == {"Ref": "BasePath"}
        expect(not (is_bundles and "ExpirationInDays" in rule), "storage.yaml: bundles would expire")


def check_kubernetes() -> None:
    def load_all(name: str) -> list[dict]:
        return list(yaml.safe_load_all(pathlib.Path(f"deploy/kubernetes/{name}.yaml").read_text()))

    def load(name: str) -> dict:
        return load_all(name)[0]

    environment = load("configmap")["data"]
    check_names("configmap.yaml", environment)
    pod = load("statefulset")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    check_names("statefulset.yaml", {variable["name"]: "" for variable in container["env"]})
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pause + seconds(environment, "SHUTDOWN_TIMEOUT") + CLOSING_SECONDS
    expect(pod["terminationGracePeriodSeconds"] > needed, "statefulset.yaml: the grace period is shorter than a regular shutdown")
    liveness, readiness = (container[f"{kind}Probe"]["grpc"].get("service") for kind in ("liveness", "readiness"))
    expect(liveness == LIVENESS, "statefulset.yaml: the liveness probe has another service name")
    expect(readiness == READINESS, "statefulset.yaml: the readiness probe has another service name")
    for service in load_all("service"):
        name = service["metadata"]["name"]
        # Each pod has its own name below a headless service.
        hosts = [name] + ([f"tara-export-0.{name}"] if service["spec"].get("clusterIP") == "None" else [])
        for host in hosts:
            for domain in ("", ".review.svc", ".review.svc.cluster.local"):
                is_served = is_allowed(host + domain, environment.get("ALLOWED_HOSTS", ""))
                expect(is_served, f"configmap.yaml: ALLOWED_HOSTS has no {host}{domain}")
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    expect(environment["DATA_DIR"] in mounts, "statefulset.yaml: DATA_DIR is not on a volume")
    kustomization = load("kustomization")
    files = {path.name for path in pathlib.Path("deploy/kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    expect(set(kustomization["resources"]) == files, "kustomization.yaml: the resources differ from the files")


for check in (check_ecs, check_app_runner, check_storage, check_kubernetes):
    check()
for fault in faults:
    print(fault, file=sys.stderr)
if faults:
    sys.exit(1)
print("settings and times of the deployments are consistent")
