"""An S3 server (moto) that checks signatures and rights, with a bucket, a user and a role.

Prints one line of JSON about itself, then answers each line on standard input with one line of JSON: all objects, with
content and headers. A line that is not empty names an object that is put there first; behind a tab may stand its text, as
JSON. Ends when standard input does.
"""

import json
import logging
import os
import sys
import urllib.request

# moto's own calls before rights are checked; nobody's real account.
os.environ.update(AWS_ACCESS_KEY_ID="root", AWS_SECRET_ACCESS_KEY="root", AWS_DEFAULT_REGION="us-east-1")
logging.getLogger("werkzeug").setLevel(logging.ERROR)

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

BUCKET = "llm-logs"
# The user may write and read; the role only writes below its own folder.
USER_MAY = {"Effect": "Allow", "Action": ["s3:*", "sts:AssumeRole"], "Resource": "*"}
ROLE_MAY = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": f"arn:aws:s3:::{BUCKET}/*"}
TRUST = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}


def policy(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def prepare(url):
    """The bucket, the user and the role; from then on everything is checked."""
    iam = boto3.client("iam", endpoint_url=url)
    iam.create_user(UserName="writer")
    iam.put_user_policy(UserName="writer", PolicyName="p", PolicyDocument=policy(USER_MAY))
    key = iam.create_access_key(UserName="writer")["AccessKey"]
    role = iam.create_role(RoleName="role", AssumeRolePolicyDocument=policy(TRUST))["Role"]
    iam.put_role_policy(RoleName="role", PolicyName="p", PolicyDocument=policy(ROLE_MAY))
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket=BUCKET)
    check = urllib.request.Request(
        f"{url}/moto-api/reset-auth", data=b"0", headers={"content-type": "text/plain"}, method="POST"
    )
    urllib.request.urlopen(check).read()
    return key, role["Arn"]


def objects(s3):
    """Every object, as a client of AWS's own sees it."""
    for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        got = s3.get_object(Bucket=BUCKET, Key=item["Key"])
        yield {
            "key": item["Key"],
            "body": got["Body"].read().decode(),
            "content_type": got["ContentType"],
            "headers": got["ResponseMetadata"]["HTTPHeaders"],
        }


def main():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    key, role = prepare(url)
    own = {
        "endpoint": url,
        "bucket": BUCKET,
        "access_key_id": key["AccessKeyId"],
        "secret_access_key": key["SecretAccessKey"],
        "role": role,
    }
    print(json.dumps(own), flush=True)
    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        config=Config(s3={"addressing_style": "path"}),
    )
    for line in sys.stdin:
        if name := line.rstrip("\n"):
            name, _, text = name.partition("\t")
            s3.put_object(Bucket=BUCKET, Key=name, Body=json.loads(text) if text else "somebody else's")
        print(json.dumps(list(objects(s3))), flush=True)
    server.stop()


main()
