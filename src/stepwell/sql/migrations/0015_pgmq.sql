-- How often a task was read as a message of its flow's queue (functions/flow_messages.sql): pgmq's read_ct.
alter table pgflow.step_tasks add column read_ct int not null default 0;
