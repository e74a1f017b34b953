#!/usr/bin/env python3
"""Deploys the template, translated from SAM by AWS's own translator, on a moto server with CloudFormation, and reads every
resource back. moto says CREATE_COMPLETE of what it silently drops; so what cannot be read back is listed here, by type, and
the run fails where that list is not exactly what was dropped.

usage: template_in_moto.py [TRANSLATED.json]    writes the translated template there
"""

import ast
import io
import json
import os
import sys
import zipfile
from pathlib import Path

import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).resolve().parent.parent / "infra" / "template.yaml"
# Nothing here may reach an account.
os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
ACCOUNT, REGION, STACK = "123456789012", "us-east-1", "mannen"
# With what production has and a laptop has not.
PARAMETERS = {
    "BudgetEmail": "ops@example.com", "AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms", "ProvisionedConcurrency": "2",
    "WarehouseProject": "a-project", "DeploymentType": "Canary10Percent5Minutes", "AccessLogBucket": "logs-of-the-account",
}
# Types that moto 5.2 does not create, though it says so. They are held by cfn-lint's schemas and by AWS alone.
DROPPED_TYPES = {
    "AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage", "AWS::Athena::NamedQuery", "AWS::Athena::WorkGroup",
    "AWS::Budgets::Budget", "AWS::CloudWatch::Alarm", "AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup",
    "AWS::Glue::Database", "AWS::Glue::Table", "AWS::Lambda::Alias", "AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy",
}
# Properties of created resources that it drops.
DROPPED_PROPERTIES = {
    "AWS::Events::Rule.Targets.DeadLetterConfig",
    "AWS::Lambda::Function.Architectures",
    "AWS::Lambda::Function.DeadLetterConfig",
    "AWS::Lambda::Function.KmsKeyArn",
    "AWS::Lambda::Function.LoggingConfig",
    "AWS::Lambda::Function.TracingConfig",
    "AWS::Logs::LogGroup.KmsKeyId",
    "AWS::S3::Bucket.BucketEncryption",
    "AWS::S3::Bucket.LifecycleConfiguration",
    "AWS::S3::Bucket.LoggingConfiguration",
    "AWS::S3::Bucket.NotificationConfiguration",
    "AWS::S3::Bucket.OwnershipControls",
    "AWS::S3::Bucket.PublicAccessBlockConfiguration",
    "AWS::S3::Bucket.VersioningConfiguration",
    "AWS::StepFunctions::StateMachine.DefinitionSubstitutions",
}


TEMPLATE_DEFAULTS, TEMPLATE_MAPPINGS = {}, {}


def translated():
    template = yaml_parse(TEMPLATE.read_text())
    TEMPLATE_MAPPINGS.update(template["Mappings"])
    TEMPLATE_DEFAULTS.update({name: parameter.get("Default") for name, parameter in template["Parameters"].items()})
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://code/bootstrap.zip"
    defaults = {name: str(parameter.get("Default", "")) for name, parameter in template["Parameters"].items()}

    class NoManagedPolicies:
        def load(self):
            return {
                "AWSCodeDeployRoleForLambda": "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambda",
                "AWSXrayWriteOnlyAccess": "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess",
                "AWSXRayDaemonWriteAccess": "arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess",
                "AWSLambdaBasicExecutionRole": "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
                "AWSLambdaSQSQueueExecutionRole": "arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole",
            }

    return transform(template, defaults | PARAMETERS, NoManagedPolicies())


def without_aliases(value, aliases):
    """moto has no aliases: what refers to one refers to its function, so that rules and mappings have a target."""
    if isinstance(value, dict):
        if set(value) == {"Ref"} and value["Ref"] in aliases:
            return {"Fn::GetAtt": [aliases[value["Ref"]], "Arn"]}
        return {name: without_aliases(inner, aliases) for name, inner in value.items()}
    return [without_aliases(inner, aliases) for inner in value] if isinstance(value, list) else value


def plain(value):
    """The value of a map's entry under the parameters here."""
    if isinstance(value, dict) and "Fn::FindInMap" in value:
        name, key, entry = value["Fn::FindInMap"]
        key = PARAMETERS.get(key["Ref"], TEMPLATE_DEFAULTS[key["Ref"]]) if isinstance(key, dict) else key
        return TEMPLATE_MAPPINGS[name][key][entry]
    return value


def named(value):
    """Logical ids that a part of a template refers to."""
    if isinstance(value, dict):
        if len(value) == 1 and "Ref" in value:
            yield value["Ref"]
        elif len(value) == 1 and "Fn::GetAtt" in value:
            path = value["Fn::GetAtt"]
            yield path[0] if isinstance(path, list) else path.split(".")[0]
        else:
            for inner in value.values():
                yield from named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named(inner)


def nothing_refers_to_what_may_not_be_there(template):
    conditional = {name for name, resource in template["Resources"].items() if "Condition" in resource}
    for name, resource in template["Resources"].items():
        if "Condition" not in resource:
            missing = conditional.intersection(named(resource))
            assert not missing, f"{name} is always made and refers to {missing}, which may not be"


def every_route_wants_a_signature(template):
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::ApiGatewayV2::Api":
            for path, methods in resource["Properties"]["Body"]["paths"].items():
                for method, route in methods.items():
                    assert route["security"] == [{"AWS_IAM": []}], f"{method} {path} lets everybody in"


# Minutes in which a function has errors whose every invocation fails, from how it is invoked: the API's every minute; what a schedule
# begins, at its times and again after one and two minutes; the batch transform when its message comes back.
MINUTES = 240
FAILS_EVERY_MINUTE = set(range(MINUTES))


def scheduled(every):
    return {start + again for start in range(0, MINUTES, every) for again in (0, 1, 3)}


FAILING_MINUTES = {
    "ResultArchiver": scheduled(5), "Evaluator": scheduled(60), "TrainingLauncher": scheduled(15), "FeatureTransformBatch": {0, 90, 180}}


def alarms_can_sound(template):
    """Errors of a function that always fails reach its alarm's count, and no sum has an operand without figures."""
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::CloudWatch::Alarm":
            continue
        alarm = resource["Properties"]
        for metric in alarm.get("Metrics", []):
            sparse = {other["Id"] for other in alarm["Metrics"]
                      if other.get("MetricStat", {}).get("Metric", {}).get("Namespace") == "AWS/States"}
            bare = [part for part in str(metric.get("Expression", "")).split(" + ") if part in sparse]
            assert not bare, f"{name}: {bare} has no figure where the machine has not run"
        if (alarm.get("Namespace"), alarm.get("MetricName")) != ("AWS/Lambda", "Errors"):
            continue
        function = next(named(alarm["Dimensions"]))
        failing = FAILING_MINUTES.get(function, FAILS_EVERY_MINUTE)
        length = alarm["Period"] // 60
        periods = [any(start + minute in failing for minute in range(length)) for start in range(0, MINUTES, length)]
        count, of = alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]), alarm["EvaluationPeriods"]
        breaches = max(sum(periods[at:at + of]) for at in range(len(periods)))
        assert breaches >= count, f"{name} never sounds: {breaches} of {of} periods have an error, {count} are needed"


class Cloud:
    def __init__(self, endpoint):
        session = boto3.Session("test", "test", region_name=REGION)
        self.client = lambda service: session.client(service, endpoint_url=endpoint)

    def deploy(self, template):
        s3 = self.client("s3")
        s3.create_bucket(Bucket="code")
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as code:
            code.writestr("bootstrap", "#!/bin/sh\n")
        s3.put_object(Bucket="code", Key="bootstrap.zip", Body=archive.getvalue())
        iam = self.client("iam")
        text = json.dumps(template)
        s3.put_object(Bucket="code", Key="template.json", Body=text)
        formation = self.client("cloudformation")
        formation.create_stack(
            StackName=STACK, TemplateURL="https://code.s3.amazonaws.com/template.json", Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in PARAMETERS.items()])
        stack = formation.describe_stacks(StackName=STACK)["Stacks"][0]
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=STACK)
        return {found["LogicalResourceId"]: found for page in pages for found in page["StackResourceSummaries"]}


def read_back(cloud, kind, physical, properties):
    """Properties that were read back and are what the template says; None where the resource is not there."""
    client, checks = cloud.client, {}
    if kind == "AWS::S3::Bucket":
        s3 = client("s3")
        s3.head_bucket(Bucket=physical)
        def ask(call):
            try:
                return call(Bucket=physical)
            except ClientError:
                return {}
        rules = ask(s3.get_bucket_encryption).get("ServerSideEncryptionConfiguration", {}).get("Rules", [{}])
        checks["BucketEncryption"] = rules[0].get("BucketKeyEnabled") is True
        checks["VersioningConfiguration"] = ask(s3.get_bucket_versioning).get("Status") == "Enabled"
        checks["PublicAccessBlockConfiguration"] = all(
            ask(s3.get_public_access_block).get("PublicAccessBlockConfiguration", {"": False}).values())
        checks["LifecycleConfiguration"] = len(ask(s3.get_bucket_lifecycle_configuration).get("Rules", [])) == len(
            properties["LifecycleConfiguration"]["Rules"])
        checks["NotificationConfiguration"] = len(
            ask(s3.get_bucket_notification_configuration).get("QueueConfigurations", [])) == 2
        checks["OwnershipControls"] = bool(ask(s3.get_bucket_ownership_controls))
        checks["LoggingConfiguration"] = "LoggingEnabled" in ask(s3.get_bucket_logging)
    elif kind == "AWS::SQS::Queue":
        found = client("sqs").get_queue_attributes(QueueUrl=physical, AttributeNames=["All"])["Attributes"]
        checks["SqsManagedSseEnabled"] = found.get("SqsManagedSseEnabled") == "true"
        for name in ("VisibilityTimeout", "MessageRetentionPeriod"):
            if name in properties:
                checks[name] = found[name] == str(plain(properties[name]))
        if "RedrivePolicy" in properties:
            redrive = json.loads(found["RedrivePolicy"])
            checks["RedrivePolicy"] = int(redrive["maxReceiveCount"]) == properties["RedrivePolicy"]["maxReceiveCount"]
    elif kind == "AWS::Lambda::Function":
        found = client("lambda").get_function_configuration(FunctionName=physical)
        same = {"MemorySize", "Timeout", "Runtime", "Handler", "Architectures"} & set(properties)
        checks.update({name: found.get(name) == plain(properties[name]) for name in same})
        checks["Environment"] = set(found["Environment"]["Variables"]) == set(properties["Environment"]["Variables"])
        checks["KmsKeyArn"] = bool(found.get("KMSKeyArn"))
        checks["TracingConfig"] = found.get("TracingConfig", {}).get("Mode") == "Active"
        checks["LoggingConfig"] = found.get("LoggingConfig", {}).get("LogGroup", "").startswith("/aws/lambda/")
        if "DeadLetterConfig" in properties:
            checks["DeadLetterConfig"] = bool(found.get("DeadLetterConfig", {}).get("TargetArn"))
    elif kind == "AWS::Lambda::Version":
        function = NAMES[properties["FunctionName"]["Ref"]]
        versions = client("lambda").list_versions_by_function(FunctionName=function)["Versions"]
        return {} if any(version["Version"] == "1" for version in versions) else None
    elif kind == "AWS::Lambda::EventSourceMapping":
        found = client("lambda").get_event_source_mapping(UUID=physical)
        checks["BatchSize"] = found["BatchSize"] == properties["BatchSize"]
        checks["FunctionResponseTypes"] = found.get("FunctionResponseTypes") == properties["FunctionResponseTypes"]
        if "ScalingConfig" in properties:
            checks["ScalingConfig"] = bool(found.get("ScalingConfig"))
    elif kind == "AWS::IAM::Role":
        iam = client("iam")
        checks["Policies"] = len(iam.list_role_policies(RoleName=physical)["PolicyNames"]) == len(properties.get("Policies", []))
        for name in iam.list_role_policies(RoleName=physical)["PolicyNames"]:
            # moto gives the text of a Python object for what came through CloudFormation.
            document = iam.get_role_policy(RoleName=physical, PolicyName=name)["PolicyDocument"]
            for statement in (ast.literal_eval(document) if isinstance(document, str) else document)["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert not any("*" in action for action in actions), f"{physical}: a wildcard action in {actions}"
                resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
                # AWS has no resource to name for these.
                without_name = ("ecr:GetAuthorizationToken", "cloudwatch:PutMetricData")
                nameless = all(action.split(":")[0] in ("logs", "xray") or action in without_name for action in actions)
                assert "*" not in resources or nameless, f"{physical}: {actions} on everything"
                assert "${" not in json.dumps(statement), f"{physical}: unresolved {statement}"
    elif kind == "AWS::Lambda::Permission":
        try:
            policy = json.loads(client("lambda").get_policy(FunctionName=NAMES[function_of(properties)])["Policy"])
        except ClientError:
            return None
        return {} if any(s["Principal"]["Service"] == properties["Principal"] for s in policy["Statement"]) else None
    elif kind == "AWS::Events::Rule":
        name = physical.split("/")[-1]
        found = client("events").describe_rule(Name=name)
        # A rule has a schedule or a pattern.
        if "ScheduleExpression" in properties:
            checks["ScheduleExpression"] = found.get("ScheduleExpression", "").startswith("rate(")
        if "EventPattern" in properties:
            pattern = properties["EventPattern"]
            checks["EventPattern"] = json.loads(found["EventPattern"])["detail-type"] == pattern["detail-type"]
        targets = client("events").list_targets_by_rule(Rule=name)["Targets"]
        checks["Targets"] = len(targets) == 1
        checks["Targets.DeadLetterConfig"] = all("DeadLetterConfig" in target for target in targets)
    elif kind == "AWS::KMS::Key":
        kms = client("kms")
        checks["EnableKeyRotation"] = kms.get_key_rotation_status(KeyId=physical)["KeyRotationEnabled"]
        policy = kms.get_key_policy(KeyId=physical, PolicyName="default")["Policy"]
        policy = json.loads(policy) if isinstance(policy, str) else policy
        checks["KeyPolicy"] = len(policy["Statement"]) == 2
    elif kind == "AWS::Logs::LogGroup":
        found = client("logs").describe_log_groups(logGroupNamePrefix=physical)["logGroups"]
        checks["RetentionInDays"] = found[0].get("retentionInDays") == 365
        checks["KmsKeyId"] = bool(found[0].get("kmsKeyId"))
    elif kind == "AWS::CloudWatch::Dashboard":
        body = json.loads(client("cloudwatch").get_dashboard(DashboardName=STACK)["DashboardBody"])
        # The API's id is not known where the API is dropped.
        checks["DashboardBody"] = len(body["widgets"]) == 9 and "${" not in json.dumps(body).replace("${Api}", "")
    elif kind == "AWS::StepFunctions::StateMachine":
        found = client("stepfunctions").describe_state_machine(stateMachineArn=physical)
        definition = found["definition"]
        checks["Definition"] = bool(json.loads(definition)["States"])
        checks["DefinitionSubstitutions"] = "${" not in definition
    elif kind == "AWS::CloudWatch::Alarm":
        return client("cloudwatch").describe_alarms()["MetricAlarms"] or None
    elif kind == "AWS::ApiGatewayV2::Api":
        return client("apigatewayv2").get_apis()["Items"] or None
    elif kind == "AWS::ApiGatewayV2::Stage":
        apis = client("apigatewayv2").get_apis()["Items"]
        return [stage for api in apis for stage in client("apigatewayv2").get_stages(ApiId=api["ApiId"])["Items"]] or None
    elif kind == "AWS::Glue::Database":
        return client("glue").get_databases()["DatabaseList"] or None
    elif kind == "AWS::Glue::Table":
        databases = client("glue").get_databases()["DatabaseList"]
        return [client("glue").get_tables(DatabaseName=database["Name"]) for database in databases] or None
    elif kind == "AWS::Athena::WorkGroup":
        groups = client("athena").list_work_groups()["WorkGroups"]
        return [group for group in groups if group["Name"] != "primary"] or None
    elif kind == "AWS::Athena::NamedQuery":
        return client("athena").list_named_queries()["NamedQueryIds"] or None
    elif kind == "AWS::Budgets::Budget":
        return client("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"] or None
    elif kind == "AWS::CodeDeploy::Application":
        return client("codedeploy").list_applications()["applications"] or None
    elif kind == "AWS::CodeDeploy::DeploymentGroup":
        return None if not client("codedeploy").list_applications()["applications"] else True
    elif kind == "AWS::Lambda::Alias":
        return client("lambda").list_aliases(FunctionName=NAMES[function_of(properties)])["Aliases"] or None
    elif kind == "AWS::S3::BucketPolicy":
        try:
            return client("s3").get_bucket_policy(Bucket=f"{STACK}-lake-{ACCOUNT}")
        except ClientError:
            return None
    elif kind == "AWS::SQS::QueuePolicy":
        queues = client("sqs").list_queues()["QueueUrls"]
        attributes = [client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in queues]
        return [found for found in attributes if "Policy" in found] or None
    else:
        raise AssertionError(f"no reader for {kind}")
    return checks


NAMES = {}


def function_of(properties):
    """The logical id of the function that a resource is about, also where it names the alias."""
    target = properties["FunctionName"]
    name = target.get("Ref") or target["Fn::GetAtt"][0]
    return name if name in NAMES and NAMES[name] else name.removesuffix("Aliaslive")


def main():
    template = translated()
    nothing_refers_to_what_may_not_be_there(template)
    every_route_wants_a_signature(template)
    alarms_can_sound(template)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(template, indent=1))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        cloud = Cloud("http://{}:{}".format(*server.get_host_and_port()))
        aliases = {
            name: resource["Properties"]["FunctionName"]["Ref"]
            for name, resource in template["Resources"].items() if resource["Type"] == "AWS::Lambda::Alias"}
        created = cloud.deploy(without_aliases(template, aliases))
        NAMES.update({name: found.get("PhysicalResourceId") for name, found in created.items()})
        dropped_types, dropped_properties, missing, read = set(), set(), set(), 0
        for name, resource in sorted(template["Resources"].items()):
            kind, physical = resource["Type"], created.get(name, {}).get("PhysicalResourceId")
            if kind in DROPPED_TYPES:
                found = read_back(cloud, kind, physical, resource.get("Properties", {}))
                if found is None:
                    dropped_types.add(kind)
                    continue
                print(f"{name}: moto can hold {kind} now")
                continue
            assert name in created, f"{name} ({kind}) is not in the stack"
            found = read_back(cloud, kind, physical, resource.get("Properties", {}))
            if found is None:
                missing.add(name)
                continue
            read += 1
            dropped_properties |= {f"{kind}.{field}" for field, held in found.items() if not held}
        kinds = sorted({resource["Type"] for resource in template["Resources"].values()})
        print(f"{len(template['Resources'])} resources of {len(kinds)} types; {read} read back")
        print("silently dropped, types:", *sorted(dropped_types), sep="\n  ")
        print("silently dropped, properties:", *sorted(dropped_properties), sep="\n  ")
        assert not missing, f"the stack is complete, but these are not there: {sorted(missing)}"
        assert dropped_types == DROPPED_TYPES, f"differs: {sorted(dropped_types ^ DROPPED_TYPES)}"
        assert dropped_properties == DROPPED_PROPERTIES, f"differs: {sorted(dropped_properties ^ DROPPED_PROPERTIES)}"
    finally:
        server.stop()


main()
