-- Nobody but the owner sees the schema until the owner says so.
revoke all on schema pgmq from public;
