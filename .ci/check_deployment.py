"""What no linter knows of deploy/: settings that exist, and times that fit each other.

The server's times are its settings' where a deployment sets them, and README's defaults elsewhere.
"""

import json
import pathlib
import re
import sys

import yaml
from cfnlint.decode import cfn_yaml

# How long after SHUTDOWN_TIMEOUT a process is ended at the latest (src/server/shutdown.rs).
CLOSING_SECONDS = 1
# Health names of src/server/health.rs: what restarts, and what is sent no more calls.
LIVENESS = "liveness"
READINESS = "tara.export.v1.ExportService"
# App Runner's limit of a request.
PLATFORM_SECONDS = 120
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}

faults = []


def expect(holds: bool, fault: str) -> None:
    if not holds:
        faults.append(fault)


def readme_settings() -> dict[str, str]:
    """Each setting with its default."""
    settings = pathlib.Path("README.md").read_text().split("## Settings")[1].split("\n## ")[0]
    return dict(re.findall(r"(?m)^\| `([A-Z0-9_]+)` \| `?([^`| ]+)", settings))


SETTINGS = readme_settings()


def seconds(environment: dict[str, str], name: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(\D+)", environment.get(name, SETTINGS[name])).groups()
    return int(number) * UNITS[unit]


def check_names(where: str, environment: dict[str, str]) -> None:
    for name in environment:
        expect(name in SETTINGS, f"{where}: {name} is no setting of README.md")


def template(name: str) -> dict:
    return json.loads(json.dumps(cfn_yaml.load(f"deploy/cloudformation/{name}.yaml")))


def pairs(variables: list) -> dict:
    return {variable["Name"]: variable["Value"] for variable in variables}


def attributes(resource: dict, name: str) -> dict:
    return {attribute["Key"]: attribute["Value"] for attribute in resource["Properties"][name]}


def check_ecs() -> None:
    resources = template("ecs")["Resources"]
    container = resources["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
    environment = pairs(container["Environment"])
    check_names("ecs.yaml", environment)
    shutdown = seconds(environment, "SHUTDOWN_TIMEOUT") + CLOSING_SECONDS
    expect(container["StopTimeout"] > shutdown, "ecs.yaml: StopTimeout kills what would end in order")
    command = container["HealthCheck"]["Command"]
    expect(command[2:] == ["health", "--service", LIVENESS], "ecs.yaml: tasks are replaced for something else")
    idle = attributes(resources["LoadBalancer"], "LoadBalancerAttributes")["idle_timeout.timeout_seconds"]
    heartbeat = seconds(environment, "HEARTBEAT_INTERVAL")
    expect(float(idle) > 2 * heartbeat, "ecs.yaml: the idle timeout cuts streams between heartbeats")
    target = resources["TargetGroup"]["Properties"]
    expect(target["ProtocolVersion"] == "GRPC", "ecs.yaml: the target group does not speak gRPC")
    expect(target["HealthCheckPath"] == "/grpc.health.v1.Health/Check", "ecs.yaml: no such health check")
    expect(target["Matcher"] == {"GrpcCode": "0"}, "ecs.yaml: the health check takes other codes than OK")
    service = resources["Service"]["Properties"]
    expect(service["DesiredCount"]["Fn::If"][1] == 1, "ecs.yaml: a volume belongs to one task")
    deployment = service["DeploymentConfiguration"]
    limits = (deployment["MinimumHealthyPercent"]["Fn::If"][1], deployment["MaximumPercent"]["Fn::If"][1])
    expect(limits == (0, 100), "ecs.yaml: a new task would come before the old one leaves the volume")


def check_app_runner() -> None:
    service = template("apprunner")["Resources"]["Service"]["Properties"]
    image = service["SourceConfiguration"]["ImageRepository"]["ImageConfiguration"]
    stack = pairs(image["RuntimeEnvironmentVariables"])
    source = yaml.safe_load(pathlib.Path("apprunner.yaml").read_text())["run"]
    file = {variable["name"]: variable["value"] for variable in source["env"]}
    expect(service["HealthCheckConfiguration"]["Path"] == "/livez", "cloudformation/apprunner.yaml: no liveness")
    for where, environment in (("cloudformation/apprunner.yaml", stack), ("apprunner.yaml", file)):
        check_names(where, environment)
        longest = seconds(environment, "MAX_STREAM_TIME")
        expect(0 < longest <= PLATFORM_SECONDS - 5, f"{where}: streams are cut before they end")
    for name in ("MAX_STREAM_TIME", "DATA_DIR", "EPHEMERAL_DISK", "JOURNAL", "BIND_ADDRESS"):
        expect(stack[name] == file[name], f"{name} differs between apprunner.yaml and the stack")


def check_storage() -> None:
    bucket = template("storage")["Resources"]["Bucket"]["Properties"]
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    # As `tara-export check` judges (src/store/s3/lifecycle.rs): whole prefixes, no tags.
    aborts = rules["abort-unfinished-uploads"]
    expect(aborts["Prefix"] == {"Ref": "BasePath"}, "storage.yaml: unfinished parts lie elsewhere too")
    expect("DaysAfterInitiation" in aborts["AbortIncompleteMultipartUpload"], "storage.yaml: aborts nothing")
    expires = rules["expire-uploads"]
    expect(expires["Prefix"] == {"Fn::Sub": "${BasePath}.tara-export/uploads/"}, "storage.yaml: uploads lie elsewhere")
    expect("ExpirationInDays" in expires, "storage.yaml: uploads don't expire")
    for rule in rules.values():
        expect(rule["Status"] == "Enabled", f"storage.yaml: {rule['Id']} is off")
        is_bundles = rule["Prefix"] == {"Ref": "BasePath"}
        expect(not (is_bundles and "ExpirationInDays" in rule), "storage.yaml: bundles would expire")


def check_kubernetes() -> None:
    def load(name: str) -> dict:
        return yaml.safe_load(pathlib.Path(f"deploy/kubernetes/{name}.yaml").read_text())

    environment = load("configmap")["data"]
    check_names("configmap.yaml", environment)
    pod = load("statefulset")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    check_names("statefulset.yaml", {variable["name"]: "" for variable in container["env"]})
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pause + seconds(environment, "SHUTDOWN_TIMEOUT") + CLOSING_SECONDS
    expect(pod["terminationGracePeriodSeconds"] > needed, "statefulset.yaml: pods are killed before they end")
    liveness, readiness = (container[f"{kind}Probe"]["grpc"].get("service") for kind in ("liveness", "readiness"))
    expect(liveness == LIVENESS, "statefulset.yaml: pods are restarted for something else")
    expect(readiness == READINESS, "statefulset.yaml: pods are unready for something else")
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    expect(environment["DATA_DIR"] in mounts, "statefulset.yaml: DATA_DIR is on no volume")
    kustomization = load("kustomization")
    files = {path.name for path in pathlib.Path("deploy/kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    expect(set(kustomization["resources"]) == files, "kustomization.yaml: other resources than there are files")


for check in (check_ecs, check_app_runner, check_storage, check_kubernetes):
    check()
for fault in faults:
    print(fault, file=sys.stderr)
if faults:
    sys.exit(1)
print("settings and times of the deployments fit")
