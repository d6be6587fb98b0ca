#!/bin/sh
# Write the secrets of docker-compose.yaml into .env, which its owner alone may read. Never overwrites one:
# the databases in the volumes know the passwords of the file with which they were made.
set -eu
FILE=${1:-.env}
umask 077

if [ -e "$FILE" ]; then
    echo "$FILE is there already and is left as it is; to have new secrets, remove it and the volumes" >&2
    exit 1
fi

random() {
    head -c 32 /dev/urandom | base64 | tr '+/' '-_'
}

password() {
    random | tr -d '='
}

set -C
{
    for name in POSTGRES_PASSWORD AIRFLOW_DATABASE_PASSWORD MLFLOW_DATABASE_PASSWORD \
        AIRFLOW_ADMIN_PASSWORD AIRFLOW_JWT_SECRET AIRFLOW_API_SECRET \
        MLFLOW_PASSWORD S3_SECRET_KEY SPARK_SECRET; do
        echo "$name=$(password)$(password)"
    done
    echo "AIRFLOW_FERNET_KEY=$(random)"
} >"$FILE"
echo "made $FILE; log in to Airflow as admin with AIRFLOW_ADMIN_PASSWORD"
