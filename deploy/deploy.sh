#!/usr/bin/env bash
# Builds and pushes the image, and creates or updates all stacks.
#
#   deploy/deploy.sh REGION APP TAG [OPTION]...
#
#   deploy/deploy.sh us-east-1 tara-export latest
#   deploy/deploy.sh us-east-1 tara-export 0.1.0 --parameter VpcId=vpc-… --parameter SubnetA=subnet-… \
#     --parameter SubnetB=subnet-… --parameter CertificateArn=arn:… --parameter ClientCidr=10.0.0.0/8 \
#     --parameter AllowedHosts=export.example.com
#
#   REGION   AWS region of all resources
#   APP      name of the image's repository, and prefix of the stacks' names
#   TAG      the image's tag, such as the release or the commit, which always names one image: if it exists, it is not
#            built again. Only `latest` moves: it is built and pushed each time. Stacks name the image by its digest
#
#   --platform ecs|apprunner   the platform (default: ecs with --parameter VpcId=…, otherwise apprunner, which needs
#                              no network and no certificate)
#   --bucket NAME              an existing bucket; default: APP-ACCOUNT-REGION, which is created
#   --base-path PATH           S3_BASE_PATH, with a trailing slash (default: tara/)
#   --parameter NAME=VALUE     a parameter of deploy/cloudformation/PLATFORM.yaml; can be repeated
#   --storage-parameter NAME=VALUE, --roles-parameter NAME=VALUE   the same for storage.yaml and roles.yaml
#   --dry-run                  print every command, and run none
#
# Requires docker (with BuildKit) and the AWS CLI, version 2, with credentials. After a failure, run it again:
# finished steps are not repeated.
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
}
fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

platform='' bucket='' base_path=tara/ dry_run=false
arguments=() parameters=() storage_parameters=() roles_parameters=()
while [ $# -gt 0 ]; do
  case "$1" in
    --platform | --bucket | --base-path | --parameter | --storage-parameter | --roles-parameter)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case "$1" in
        --platform) platform=$2 ;;
        --bucket) bucket=$2 ;;
        --base-path) base_path=$2 ;;
        --parameter) parameters+=("$2") ;;
        --storage-parameter) storage_parameters+=("$2") ;;
        --roles-parameter) roles_parameters+=("$2") ;;
      esac
      shift 2
      ;;
    --dry-run) dry_run=true && shift ;;
    -h | --help) usage && exit 0 ;;
    -*) fail "unknown option: $1 (see --help)" ;;
    *) arguments+=("$1") && shift ;;
  esac
done
[ ${#arguments[@]} -eq 3 ] || { usage >&2; exit 2; }
region=${arguments[0]} app=${arguments[1]} tag=${arguments[2]}
if [ -z "$platform" ]; then
  platform=apprunner
  case " ${parameters[*]}" in *' VpcId='*) platform=ecs ;; esac
fi
[[ $region =~ ^[a-z]{2}(-[a-z]+)+-[0-9]$ ]] || fail "REGION must be a region such as us-east-1, not $region"
# A valid name of the repository, the bucket and the stacks.
[[ $app =~ ^[a-z][a-z0-9-]{1,30}[a-z0-9]$ ]] || fail "APP must be lower-case letters, digits and hyphens, not $app"
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$ ]] || fail "TAG must be letters, digits, dots, underscores and hyphens, not $tag"
[[ $platform =~ ^(ecs|apprunner)$ ]] || fail "--platform must be ecs or apprunner, not $platform"
[[ -z $base_path || $base_path =~ ^[^/].*/$ ]] || fail "--base-path must end with a slash, and not begin with one"
cd "$(dirname "$0")/.."

print() {
  printf '%q ' "$@"
  printf '\n'
}
# Prints a command and runs it.
run() {
  print "$@" >&2
  "$dry_run" || "$@"
}
# Prints a command, runs it and returns its output; a placeholder in a dry run.
query() {
  local name=$1
  shift
  print "$@" >&2
  if "$dry_run"; then printf '%s' "$name"; else "$@"; fi
}
# Creates or updates a stack from a template, with parameters.
stack() {
  local name=$1 template=$2
  shift 2
  run aws cloudformation deploy --region "$region" --stack-name "$app-$name" \
    --template-file "deploy/cloudformation/$template.yaml" --capabilities CAPABILITY_IAM \
    --no-fail-on-empty-changeset --tags "app=$app" --parameter-overrides "$@"
}
output() {
  local stack=$1 key=$2
  query "<$key of $app-$stack>" aws cloudformation describe-stacks --region "$region" --stack-name "$app-$stack" \
    --query "Stacks[0].Outputs[?OutputKey=='$key'].OutputValue | [0]" --output text
}
# Whether the registry has the image of this tag. False for the tag that moves, and in a dry run, so that every command
# is shown.
is_pushed() {
  [ "$tag" != latest ] || return 1
  print aws ecr describe-images --region "$region" --repository-name "$app" --image-ids "imageTag=$tag" >&2
  ! "$dry_run" && aws ecr describe-images --region "$region" --repository-name "$app" \
    --image-ids "imageTag=$tag" >/dev/null 2>&1
}
log_in() {
  # Through a pipe, because other users can read command lines.
  printf '%s | %s\n' "$(print aws ecr get-login-password --region "$region")" \
    "$(print docker login --username AWS --password-stdin "$1")" >&2
  "$dry_run" || aws ecr get-login-password --region "$region" |
    docker login --username AWS --password-stdin "$1"
}

account=$(query '<account>' aws sts get-caller-identity --query Account --output text)

stack registry registry "RepositoryName=$app"
repository=$(output registry RepositoryUri)
# The digest of the tested image. Of an image that was just pushed it comes from docker: another push can move the tag
# before the registry is asked.
if is_pushed; then
  digest=$(query '<digest>' aws ecr describe-images --region "$region" --repository-name "$app" \
    --image-ids "imageTag=$tag" --query 'imageDetails[0].imageDigest' --output text)
else
  log_in "${repository%%/*}"
  run docker build --file deploy/Dockerfile --platform linux/amd64 --tag "$repository:$tag" .
  run docker push "$repository:$tag"
  digests=$(query "$repository@<digest>" docker image inspect \
    --format '{{range .RepoDigests}}{{println .}}{{end}}' "$repository:$tag")
  digest=$(sed -n "s|^$repository@||p" <<<"$digests" | tail -n 1)
  [ -n "$digest" ] || { echo "error: docker has no digest of $repository:$tag after its push" >&2; exit 1; }
fi

if [ -z "$bucket" ]; then
  bucket=$app-$account-$region
  stack storage storage "BucketName=$bucket" "BasePath=$base_path" "${storage_parameters[@]}"
fi
# One stack of roles per platform, so that both can exist.
stack "$platform-roles" roles "Platform=$platform" "BucketName=$bucket" "BasePath=$base_path" "${roles_parameters[@]}"
service_role=$(output "$platform-roles" ServiceRoleArn)
common=(
  "ImageUri=$repository@$digest" "BucketName=$bucket" "BasePath=$base_path" "ServiceRoleArn=$service_role"
)
case "$platform" in
  ecs)
    execution_role=$(output ecs-roles ExecutionRoleArn)
    stack ecs ecs "${common[@]}" "ExecutionRoleArn=$execution_role" "${parameters[@]}"
    ;;
  apprunner)
    pull_role=$(output apprunner-roles PullRoleArn)
    stack apprunner apprunner "${common[@]}" "ServiceName=$app" "PullRoleArn=$pull_role" "${parameters[@]}"
    ;;
esac
address=$(output "$platform" Address)
printf 'tara-export %s is deployed at %s\n' "$tag" "$address"
