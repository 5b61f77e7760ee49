"""Answers questions about Delta tables with Sail; prints a JSON list of answers, each a sorted list of rows.

Arguments: the folder of the tables, then one question each.
"""

import json
import os
import sys

os.environ["SAIL_MODE"] = "local-cluster"

from pysail.spark import SparkConnectServer  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

server = SparkConnectServer()
server.start(background=True)
_, port = server.listening_address
spark = SparkSession.builder.remote(f"sc://localhost:{port}").getOrCreate()
for table in os.listdir(sys.argv[1]):
    path = os.path.join(sys.argv[1], table)
    spark.read.format("delta").load(path).createOrReplaceTempView(table)
answers = []
for question in sys.argv[2:]:
    rows = spark.sql(question).collect()
    answers.append(sorted(",".join(str(value) for value in row) for row in rows))
print(json.dumps(answers))
spark.stop()
server.stop()
